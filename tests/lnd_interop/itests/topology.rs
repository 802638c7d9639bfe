//! Three routes from Alice to Bob: one through Dave, and two through Carol, who has a channel with Bob
//! and one with Eve, who has one with Bob. Forwarding nodes run both programs.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use regtest::manual_amp::{self, Set};
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{self, Ampd, Lnd};
use regtest::wait::wait_for;

use crate::manual_shards::settled;
use crate::scene::Scene;
use crate::{SETTLE_LIMIT, binaries};

const CAPACITY_SAT: u64 = 1_500_000;
/// Alice's own channels are not the bottleneck: those behind them are.
const WIDE_SAT: u64 = 4_000_000;
/// Exceeds what two of the routes can carry.
pub(super) const AMOUNT_MSAT: i64 = 3_150_000_000;
/// More than half of what a route can carry.
pub(super) const SHARD_MSAT: i64 = AMOUNT_MSAT / 3;
/// Exceeds the channel reserves of a route plus fees.
const KEPT_SAT: i64 = 100_000;
pub(super) const MIN_SHARDS: usize = 3;
pub(super) const ROUTES: [&[&str]; 3] = [
    &["carol", "bob"],
    &["dave", "bob"],
    &["carol", "eve", "bob"],
];
const BACK: [&[&str]; 3] = [
    &["carol", "alice"],
    &["dave", "alice"],
    &["eve", "carol", "alice"],
];

/// Alice runs one program, Bob the other.
pub(super) async fn open(alice: Software) -> Result<Network> {
    let bob = match alice {
        Ampd => Lnd,
        _ => Ampd,
    };
    let nodes = [
        ("alice", alice),
        ("carol", bob),
        ("dave", alice),
        ("eve", alice),
        ("bob", bob),
    ];
    let network = Network::mixed(binaries(), &nodes).await?;
    let plans = [
        ChannelPlan::new("alice", "carol", WIDE_SAT),
        ChannelPlan::new("alice", "dave", WIDE_SAT),
        ChannelPlan::new("carol", "bob", CAPACITY_SAT),
        ChannelPlan::new("dave", "bob", CAPACITY_SAT),
        ChannelPlan::new("carol", "eve", CAPACITY_SAT),
        ChannelPlan::new("eve", "bob", CAPACITY_SAT),
    ];
    network.open(&plans).await?;
    wait_for("all routes to be known", SETTLE_LIMIT, async || {
        for hops in ROUTES {
            Scene::new(&network, "alice", hops)
                .route(SHARD_MSAT)
                .await?;
        }
        Ok(())
    })
    .await?;
    Ok(network)
}

pub(super) fn scene(network: &Network) -> Scene<'_> {
    Scene::new(network, "alice", ROUTES[0])
}

/// Bob pays back what he received over the same routes, except for channel reserves and fees.
pub(super) async fn pay_back(network: &Network) -> Result<()> {
    network.wait_settled(SETTLE_LIMIT).await?;
    let bob = network["bob"].api()?;
    let channels = bob.channels().await?;
    let mut amounts_msat = Vec::new();
    for hops in BACK {
        let with = |key: &str| channels.iter().find(|channel| channel.remote_pubkey == key);
        let channel = with(network[hops[0]].key()).context("the channel does not exist")?;
        amounts_msat.push((channel.local_balance - KEPT_SAT) * 1_000);
    }
    let set = Set::new(manual_amp::random(), amounts_msat.iter().sum(), &[0, 1, 2])?;
    let mut requests = Vec::new();
    for (number, (hops, msat)) in BACK.into_iter().zip(amounts_msat).enumerate() {
        let scene = Scene::new(network, "bob", hops);
        let route = wait_for("a route back", SETTLE_LIMIT, async || {
            scene.route(msat).await
        });
        requests.push(set.request(number, route.await?)?);
    }
    let sent = requests
        .into_iter()
        .map(|request| bob.send_to_route(request));
    let attempts = try_join_all(sent).await?;
    for (attempt, shard) in attempts.iter().zip(&set.shards) {
        settled(attempt, shard);
    }
    network.wait_settled(SETTLE_LIMIT).await
}
