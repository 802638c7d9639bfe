//! A log that is read slowly, for example by journald on an SD card or a remote terminal.

use std::fs::File;
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::log_lines::{flood, peer_storage};
use crate::scene::{Attack, Scene};

/// 200 kB per second, together with the pause.
const CHUNK: usize = 20_000;
const READ_PAUSE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn survives_a_flood_while_the_log_is_read_slowly() -> Result<()> {
    let (mut reader, writer) = pipe()?;
    // Ends when the last process that holds the pipe exits.
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while reader.read(&mut chunk).is_ok_and(|read| read > 0) {
            thread::sleep(READ_PAUSE);
        }
    });
    let log = File::from(OwnedFd::from(writer));
    let mut scene = Scene::with(2, &[], Some(log)).await?;
    let attack = Attack {
        name: "peer_storage while the log is read slowly",
        busy: true,
        run: |target, tally| flood(target, tally, || peer_storage(10)),
    };
    scene.endure(attack).await?;
    scene.finish()
}
