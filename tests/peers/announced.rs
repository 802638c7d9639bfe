//! Gossip between ampd and the peer: announcements right after a channel is opened, and the graph as
//! learned by nodes that connect later.

use std::time::Duration;

use anyhow::{Result, ensure};
use lnd_api::proto::lnrpc::{ChannelEdge, ChannelGraphRequest};
use regtest::announced::AnnouncedChannels;
use regtest::network::Network;
use regtest::node::Software::{self, Ampd};
use regtest::raw_peer::Target;
use regtest::wait::wait_for;

use crate::scene::{ALICE, BOB, PEER, half, peer};
use crate::{binaries, with_both};

/// An ampd that joins later and is connected to the peer only.
const CAROL: &str = "carol";
/// Time for gossip to reach connected nodes.
const GOSSIP_LIMIT: Duration = Duration::from_secs(60);
const OLD_CHANNELS: usize = 200;

with_both!(
    new_channel_is_announced_without_reconnecting,
    late_joiners_learn_old_and_new_channels,
);

/// Blocks are mined one at a time, and a third node connected to the peer only sees both directions.
async fn new_channel_is_announced_without_reconnecting(software: Software) -> Result<()> {
    let nodes = [(ALICE, Ampd), (PEER, software), (BOB, Ampd)];
    let network = Network::mixed(binaries(), &nodes).await?;
    network.connect(BOB, PEER).await?;
    for opener in [ALICE, PEER] {
        let before = edges(&network, BOB).await?;
        let other = if opener == ALICE { PEER } else { ALICE };
        network.open_slowly(&half(opener, other)).await?;
        for name in [ALICE, BOB] {
            knows(&network, name, before + 2).await?;
        }
    }
    network.finish();
    Ok(())
}

/// The peer is connected to ampd only, and an ampd to the peer only.
async fn late_joiners_learn_old_and_new_channels(software: Software) -> Result<()> {
    let has_eclair = software == Software::Eclair;
    let mut network = if has_eclair {
        Network::start_for_eclair(binaries()).await?
    } else {
        Network::start(binaries()).await?
    };
    let first = network.prepare_as(ALICE, Ampd).await?;
    network.add(vec![first]).await?;
    let old = AnnouncedChannels::fund(&network.bitcoind, OLD_CHANNELS).await?;
    network.wait_synced().await?;
    let alice = Target::of(&network[ALICE])?;
    let _old = old.announce_to(&alice).await?;
    knows(&network, ALICE, 2 * OLD_CHANNELS).await?;

    let mut late = network.prepare_as(PEER, software).await?;
    if has_eclair {
        // Without a channel, Eclair requests the graph of a peer only if it is configured here.
        let key = format!("[{:?}]", network[ALICE].key());
        late.set_raw("eclair.router.sync.whitelist", &key);
    }
    network.add(vec![late]).await?;
    network.connect(PEER, ALICE).await?;
    peer_knows(&network, 2 * OLD_CHANNELS).await?;

    let later = network.prepare_as(CAROL, Ampd).await?;
    network.add(vec![later]).await?;
    network.connect(CAROL, PEER).await?;
    knows(&network, CAROL, 2 * OLD_CHANNELS).await?;

    let new = AnnouncedChannels::fund(&network.bitcoind, 1).await?;
    network.wait_synced().await?;
    let _new = new.announce_to(&alice).await?;
    peer_knows(&network, 2 * OLD_CHANNELS + 2).await?;
    knows(&network, CAROL, 2 * OLD_CHANNELS + 2).await?;
    network.finish();
    Ok(())
}

/// Waits until an ampd knows this many channel directions.
async fn knows(network: &Network, name: &str, directions: usize) -> Result<()> {
    let what = format!("{name} to know {directions} directions");
    wait_for(&what, GOSSIP_LIMIT, async || {
        let known = edges(network, name).await?;
        ensure!(known == directions, "it knows {known} directions");
        Ok(())
    })
    .await
}

async fn edges(network: &Network, name: &str) -> Result<usize> {
    let request = ChannelGraphRequest::default();
    let mut lightning = network[name].api()?.lightning;
    let graph = lightning.describe_graph(request).await?.into_inner();
    let directions = |edge: &ChannelEdge| {
        usize::from(edge.node1_policy.is_some()) + usize::from(edge.node2_policy.is_some())
    };
    Ok(graph.edges.iter().map(directions).sum())
}

async fn peer_knows(network: &Network, directions: usize) -> Result<()> {
    let what = format!("the peer to know {directions} directions");
    wait_for(&what, GOSSIP_LIMIT, async || {
        let known = peer(network)?.graph().await?.len();
        ensure!(known == directions, "it knows {known} directions");
        Ok(())
    })
    .await
}
