//! Connections that come and go, stay silent, or try to be kept.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use regtest::raw_peer::{ChannelTerms, Identity, RawPeer, Target};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::attacker::Tally;
use crate::scene::{Attack, Scene};

/// Exceeds the node's connection limit.
const CONNECTIONS: usize = 300;
const CONCURRENT: usize = 40;
const HOLD_TIME: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn survives_any_number_of_connections() -> Result<()> {
    let mut scene = Scene::start(2).await?;
    let attack = Attack {
        name: "connections closed immediately",
        busy: true,
        run: come_and_go,
    };
    scene.endure(attack).await?;
    let attack = Attack {
        name: "silent connections",
        busy: false,
        run: silent,
    };
    scene.endure(attack).await?;
    let attack = Attack {
        name: "connections that request a channel to be kept",
        busy: false,
        run: ask_and_stay,
    };
    scene.endure(attack).await?;
    scene.finish()
}

async fn come_and_go(target: Target, tally: Tally) -> Result<()> {
    let all = (0..CONCURRENT).map(|_| one_by_one(&target, &tally));
    try_join_all(all).await.map(drop)
}

async fn one_by_one(target: &Target, tally: &Tally) -> Result<()> {
    loop {
        target.dial().await?;
        tally.add(1);
    }
}

/// One third each stops after connecting, after the handshake, and after `init`.
async fn silent(target: Target, tally: Tally) -> Result<()> {
    let (mut streams, mut peers): (Vec<TcpStream>, Vec<RawPeer>) = Default::default();
    for number in 0..CONNECTIONS {
        tally.add(1);
        match number % 3 {
            0 => streams.extend(target.dial().await),
            1 => peers.extend(RawPeer::handshake(&target, &Identity::random()).await),
            _ => peers.extend(RawPeer::connect(&target, &Identity::random()).await),
        }
    }
    sleep(HOLD_TIME).await;
    Ok(())
}

async fn ask_and_stay(target: Target, tally: Tally) -> Result<()> {
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        tally.add(1);
        if let Ok(mut peer) = RawPeer::connect(&target, &Identity::random()).await {
            // Whether the connection is kept does not matter here.
            let _ = peer.propose(&ChannelTerms::default()).await;
            peers.push(peer);
        }
    }
    sleep(HOLD_TIME).await;
    Ok(())
}
