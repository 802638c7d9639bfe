//! Responses that are never read.

use std::time::Duration;

use anyhow::Result;
use regtest::raw_peer::{Identity, RawPeer, Target, kind, message};
use tokio::time::sleep;

use crate::attacker::Tally;
use crate::scene::{Attack, Scene};

const CONNECTIONS: usize = 95;
const PINGS: usize = 400;
/// The longest pong that can be requested, in bytes.
const MAX_PONG_BYTES: u16 = 65_531;
/// Time without progress after which the node is considered to have stopped reading.
const STALL_TIMEOUT: Duration = Duration::from_millis(100);
const HOLD_TIME: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn survives_pings_whose_pongs_are_not_read() -> Result<()> {
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
    let ping = message(
        kind::PING,
        &[&MAX_PONG_BYTES.to_be_bytes()[..], &[0, 0]].concat(),
    );
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        // The node closes connections above its limit.
        let Ok(mut peer) = RawPeer::connect(&target, &Identity::random()).await else {
            continue;
        };
        let pings = std::iter::repeat_n(ping.clone(), PINGS);
        tally.add(peer.send_unread(pings, STALL_TIMEOUT).await);
        peers.push(peer);
    }
    sleep(HOLD_TIME).await;
    Ok(())
}
