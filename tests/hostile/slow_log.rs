//! A log that is read slowly: journald on an SD card, a terminal far away.

use std::fs::File;
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::log_lines::{flood, peer_storage};
use crate::scene::{Attack, Scene};

/// 200 kB a second.
const CHUNK: usize = 20_000;
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_read_slowly() -> Result<()> {
    let (mut reader, writer) = pipe()?;
    // Ends with the last process that could write.
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while reader.read(&mut chunk).is_ok_and(|read| read > 0) {
            thread::sleep(PAUSE);
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
