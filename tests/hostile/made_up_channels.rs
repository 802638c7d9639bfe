//! Channels whose funding transaction does not exist: free of charge, and the node cannot know it.

use std::time::Duration;

use anyhow::Result;
use regtest::raw_peer::{ChannelTerms, Identity, Made, RawPeer, Target};
use tokio::time::sleep;

use crate::attacker::Tally;
use crate::newcomer::program_opens_a_channel;
use crate::scene::{Attack, Scene};

/// LDK takes no more peers with unconfirmed channels.
const IDENTITIES: usize = 50;
/// How long those that stay do so.
const PAUSE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn channels_that_are_made_up_and_closed_at_once() -> Result<()> {
    let mut scene = Scene::start(4).await?;
    scene
        .endure(Attack {
            name: "made-up channels, closed at once, of one peer",
            busy: false,
            run: |target, tally| one_after_another(target, tally, 0),
        })
        .await?;
    scene
        .endure(Attack {
            name: "made-up channels that seem to give us something, of new peers",
            busy: false,
            run: |target, tally| of_a_new_peer(target, tally, 50_000),
        })
        .await?;
    scene.finish()
}

/// As many as the node takes over one connection.
async fn one_after_another(target: Target, tally: Tally, push_sat: u64) -> Result<()> {
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    loop {
        make_up(&mut peer, &tally, push_sat).await?;
    }
}

async fn of_a_new_peer(target: Target, tally: Tally, push_sat: u64) -> Result<()> {
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    make_up(&mut peer, &tally, push_sat).await
}

async fn make_up(peer: &mut RawPeer, tally: &Tally, push_sat: u64) -> Result<()> {
    let terms = ChannelTerms {
        push_sat,
        ..Default::default()
    };
    tally.add(1);
    if let Made::Signed(channel) = peer.make_up_channel(&terms).await? {
        peer.send_error(channel, "changed my mind").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_channels_that_stay() -> Result<()> {
    let mut scene = Scene::with(2, &["carol"], None).await?;
    let attack = Attack {
        name: "50 made-up channels of 50 peers",
        busy: false,
        run: |target, tally| identities(target, tally, true),
    };
    scene.endure(attack).await?;
    newcomer_with_a_program(&mut scene).await;
    let attack = Attack {
        name: "50 peers that ask for channels and stay",
        busy: false,
        run: |target, tally| identities(target, tally, false),
    };
    scene.endure(attack).await?;
    scene.finish()
}

async fn newcomer_with_a_program(scene: &mut Scene) {
    if let Err(error) = program_opens_a_channel(&scene.network, "carol").await {
        scene.violation(
            "50 made-up channels of 50 peers",
            format!("carol: {error:#}"),
        );
    }
}

/// Each opens one channel: gone after `funding_signed`, or connected and without funding.
async fn identities(target: Target, tally: Tally, funded: bool) -> Result<()> {
    let mut peers = Vec::new();
    for _ in 0..IDENTITIES {
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        tally.add(1);
        if funded {
            peer.make_up_channel(&ChannelTerms::default()).await?;
        } else {
            let _ = peer.propose(&ChannelTerms::default()).await?;
            peers.push(peer);
        }
    }
    for peer in &mut peers {
        peer.ping().await?;
    }
    sleep(PAUSE).await;
    Ok(())
}
