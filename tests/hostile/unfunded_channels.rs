//! Channels without a funding transaction: they cost nothing, and the node cannot detect it at first.

use std::time::Duration;

use anyhow::Result;
use regtest::raw_peer::{ChannelTerms, Identity, OpenResult, RawPeer, Target};
use tokio::time::sleep;

use crate::attacker::Tally;
use crate::new_peer::program_opens_a_channel;
use crate::scene::{Attack, Scene};

/// Maximum number of peers with unconfirmed channels that LDK accepts.
const IDENTITIES: usize = 50;
/// How long peers that stay connected do so.
const HOLD_TIME: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn survives_unfunded_channels_closed_at_once() -> Result<()> {
    let mut scene = Scene::start(4).await?;
    scene
        .endure(Attack {
            name: "unfunded channels from one peer, closed at once",
            busy: false,
            run: |target, tally| one_after_another(target, tally, 0),
        })
        .await?;
    scene
        .endure(Attack {
            name: "unfunded channels with pushed funds from new peers",
            busy: false,
            run: |target, tally| of_a_new_peer(target, tally, 50_000),
        })
        .await?;
    scene.finish()
}

/// As many as the node accepts over one connection.
async fn one_after_another(target: Target, tally: Tally, push_sat: u64) -> Result<()> {
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    loop {
        open_unfunded(&mut peer, &tally, push_sat).await?;
    }
}

async fn of_a_new_peer(target: Target, tally: Tally, push_sat: u64) -> Result<()> {
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    open_unfunded(&mut peer, &tally, push_sat).await
}

async fn open_unfunded(peer: &mut RawPeer, tally: &Tally, push_sat: u64) -> Result<()> {
    let terms = ChannelTerms {
        push_sat,
        ..Default::default()
    };
    tally.add(1);
    if let OpenResult::Signed(channel) = peer.open_unfunded_channel(&terms).await? {
        peer.send_error(channel, "changed my mind").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_unfunded_channels_that_stay_open() -> Result<()> {
    let mut scene = Scene::with(2, &["carol"], None).await?;
    let attack = Attack {
        name: "50 unfunded channels from 50 peers",
        busy: false,
        run: |target, tally| identities(target, tally, true),
    };
    scene.endure(attack).await?;
    check_new_peer_program(&mut scene).await;
    let attack = Attack {
        name: "50 peers that request channels and stay connected",
        busy: false,
        run: |target, tally| identities(target, tally, false),
    };
    scene.endure(attack).await?;
    scene.finish()
}

async fn check_new_peer_program(scene: &mut Scene) {
    if let Err(error) = program_opens_a_channel(&scene.network, "carol").await {
        scene.violation(
            "50 unfunded channels from 50 peers",
            format!("carol: {error:#}"),
        );
    }
}

/// Each opens one channel and then either disconnects after `funding_signed` or stays without funding.
async fn identities(target: Target, tally: Tally, funded: bool) -> Result<()> {
    let mut peers = Vec::new();
    for _ in 0..IDENTITIES {
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        tally.add(1);
        if funded {
            peer.open_unfunded_channel(&ChannelTerms::default()).await?;
        } else {
            let _ = peer.propose(&ChannelTerms::default()).await?;
            peers.push(peer);
        }
    }
    for peer in &mut peers {
        peer.ping().await?;
    }
    sleep(HOLD_TIME).await;
    Ok(())
}
