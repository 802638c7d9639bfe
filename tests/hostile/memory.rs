//! Answers that nobody reads.

use std::time::Duration;

use anyhow::Result;
use regtest::raw_peer::{Identity, RawPeer, Target, kind, message};
use tokio::time::sleep;

use crate::attacker::Tally;
use crate::scene::{Attack, Scene};

const CONNECTIONS: usize = 95;
const PINGS: usize = 400;
/// The longest pong that can be asked for, bytes.
const PONG: u16 = 65_531;
/// If the node takes nothing for so long it has had enough.
const PATIENCE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn pings_whose_answers_are_not_read() -> Result<()> {
    let mut scene = Scene::start(2).await?;
    let attack = Attack {
        name: "pings for the longest pongs, none of them read",
        busy: false,
        run: unread,
    };
    scene.endure(attack).await?;
    scene.finish()
}

async fn unread(target: Target, tally: Tally) -> Result<()> {
    let ping = message(kind::PING, &[&PONG.to_be_bytes()[..], &[0, 0]].concat());
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        // Connections above a bound of the node end.
        let Ok(mut peer) = RawPeer::connect(&target, &Identity::random()).await else {
            continue;
        };
        let pings = std::iter::repeat_n(ping.clone(), PINGS);
        tally.add(peer.send_unread(pings, PATIENCE).await);
        peers.push(peer);
    }
    sleep(PAUSE).await;
    Ok(())
}
