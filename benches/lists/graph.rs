//! A generated network graph, and how long gossip waits while all of it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ampd::ldk::NetworkGraph;
use ampd::logging::ldk::LdkLogger;
use ampd::routing::graph::Utxos;
use ampd::routing::whole_graph::WholeGraph;
use ampd::storage::Store;
use anyhow::{Context, Result, anyhow};
use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::ln::msgs::{
    UnsignedChannelAnnouncement, UnsignedChannelUpdate, UnsignedNodeAnnouncement,
};
use lightning::routing::gossip::{NodeAlias, NodeId};
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::util::persist::{self as names, KVStoreSync};
use lightning::util::ser::Writeable;

use crate::common::fill::bytes;

/// Limit of the time that gossip waits while the graph is read: 99 of 100 updates.
pub(crate) const MAX_WAIT: Duration = Duration::from_millis(10);

/// How often the graph is read to measure that time.
const READS: usize = 10;

/// The size of a graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GraphSize {
    pub channels: u64,
    pub nodes: u64,
}

/// Channels of a peer to nodes of the graph.
const PEER_CHANNELS: u64 = 20;
/// The block of the first channel. The benchmark's chain is shorter, so no channel point is looked up.
const FIRST_BLOCK: u64 = 500_000;

/// Returns the key of a node.
pub(crate) fn key(node: u64) -> Result<PublicKey> {
    let secret = SecretKey::from_slice(&bytes("graph node", node))?;
    Ok(secret.public_key(&Secp256k1::signing_only()))
}

/// Generates a graph in which few nodes have most of the channels. `peer`: the key in hex of a node that is
/// connected to some of them.
pub(crate) fn generate(size: GraphSize, peer: Option<&str>) -> Result<NetworkGraph> {
    let graph = NetworkGraph::new(Network::Regtest, Arc::new(LdkLogger));
    let keys = (0..size.nodes).map(key).collect::<Result<Vec<_>>>()?;
    let ids: Vec<NodeId> = keys.iter().map(NodeId::from_pubkey).collect();
    let node = |n: u64| ids[n as usize % ids.len()];
    let mut random = fastrand::Rng::with_seed(7);
    for channel in 0..size.channels {
        // Each node joins with a channel to an earlier one; the rest are between any.
        let one = match channel + 1 < size.nodes {
            true => channel + 1,
            false => random.u64(1..size.nodes),
        };
        let other = (random.f64().powi(3) * one as f64) as u64;
        add_channel(&graph, scid(channel), [node(one), node(other)])?;
    }
    if let Some(peer) = peer {
        let peer = NodeId::from_pubkey(&peer.parse()?);
        for n in 0..PEER_CHANNELS {
            add_channel(&graph, scid(size.channels + n), [peer, node(n * 37)])?;
        }
    }
    for (n, id) in ids.iter().enumerate() {
        announce(&graph, *id, n)?;
    }
    Ok(graph)
}

fn scid(channel: u64) -> u64 {
    (FIRST_BLOCK + channel / 4) << 40 | (channel % 4) << 16
}

/// An hour ago, in seconds since 1970: LDK forgets channels that were not updated for two weeks.
fn timestamp() -> Result<u32> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(u32::try_from(now)?.saturating_sub(3_600))
}

fn add_channel(graph: &NetworkGraph, scid: u64, [one, two]: [NodeId; 2]) -> Result<()> {
    let announcement = UnsignedChannelAnnouncement {
        features: ChannelFeatures::empty(),
        chain_hash: ChainHash::REGTEST,
        short_channel_id: scid,
        node_id_1: one.min(two),
        node_id_2: one.max(two),
        bitcoin_key_1: one,
        bitcoin_key_2: two,
        excess_data: Vec::new(),
    };
    let unchecked: Option<&Utxos> = None;
    graph
        .update_channel_from_unsigned_announcement(&announcement, &unchecked)
        .map_err(|error| anyhow!("channel {scid}: {}", error.err))?;
    for side in [0, 1] {
        update(graph, scid, side, timestamp()?)?;
    }
    Ok(())
}

fn update(graph: &NetworkGraph, scid: u64, channel_flags: u8, timestamp: u32) -> Result<()> {
    let update = UnsignedChannelUpdate {
        chain_hash: ChainHash::REGTEST,
        short_channel_id: scid,
        timestamp,
        message_flags: 1,
        channel_flags,
        cltv_expiry_delta: 80,
        htlc_minimum_msat: 1,
        htlc_maximum_msat: 1_000_000_000,
        fee_base_msat: 1_000,
        fee_proportional_millionths: (scid >> 16) as u32 % 1_000,
        excess_data: Vec::new(),
    };
    let updated = graph.update_channel_unsigned(&update);
    updated.map_err(|error| anyhow!("update of channel {scid}: {}", error.err))
}

fn announce(graph: &NetworkGraph, node_id: NodeId, n: usize) -> Result<()> {
    let mut alias = [0; 32];
    let name = format!("node number {n}");
    alias[..name.len()].copy_from_slice(name.as_bytes());
    let announcement = UnsignedNodeAnnouncement {
        features: NodeFeatures::empty(),
        timestamp: timestamp()?,
        node_id,
        rgb: [1, 2, 3],
        alias: NodeAlias(alias),
        addresses: Vec::new(),
        excess_address_data: Vec::new(),
        excess_data: Vec::new(),
    };
    let announced = graph.update_node_from_unsigned_announcement(&announcement);
    announced.map_err(|error| anyhow!("node {n}: {}", error.err))
}

/// Writes the graph into a node's database.
pub(crate) fn write(store: &Store, graph: &NetworkGraph) -> Result<()> {
    store.write(
        names::NETWORK_GRAPH_PERSISTENCE_PRIMARY_NAMESPACE,
        names::NETWORK_GRAPH_PERSISTENCE_SECONDARY_NAMESPACE,
        names::NETWORK_GRAPH_PERSISTENCE_KEY,
        graph.encode(),
    )?;
    Ok(())
}

/// Reads all of the graph several times while another thread updates it. Prints how long updates took, and
/// returns the p99.
pub(crate) fn measure_wait(size: GraphSize) -> Result<Duration> {
    let graph = generate(size, None)?;
    let us = NodeId::from_pubkey(&key(0)?);
    let is_read = AtomicBool::new(false);
    let (reading, waits) = std::thread::scope(|scope| {
        let gossip = scope.spawn(|| {
            let (mut waits, mut newer) = (Vec::new(), timestamp()?);
            while !is_read.load(Ordering::Relaxed) {
                newer += 1;
                let start = Instant::now();
                update(&graph, scid(1), 0, newer.min(timestamp()? + 3_600))?;
                waits.push(start.elapsed());
            }
            anyhow::Ok(waits)
        });
        let start = Instant::now();
        for _ in 0..READS {
            read(&graph, us);
        }
        let reading = start.elapsed();
        is_read.store(true, Ordering::Relaxed);
        (reading, gossip.join())
    });
    let mut waits = waits.map_err(|_| anyhow!("the gossip thread panicked"))??;
    waits.sort_unstable();
    let longest = *waits.last().context("no updates")?;
    let p99 = waits[waits.len() * 99 / 100];
    println!(
        "all of the graph is read in {} ms; {} updates meanwhile wait {:.2} ms (p99), {:.2} ms (longest)",
        (reading / READS as u32).as_millis(),
        waits.len(),
        p99.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3
    );
    Ok(p99)
}

fn read(graph: &NetworkGraph, us: NodeId) {
    let whole = WholeGraph::without_channels(graph, us);
    let (mut nodes, mut edges) = (0_usize, 0_usize);
    whole.read_nodes(|_, announcement| nodes += usize::from(announcement.is_some()));
    whole.read_edges(true, |edge| edges += usize::from(edge.policy_1.is_some()));
    std::hint::black_box((nodes, edges));
}
