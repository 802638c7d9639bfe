//! Tests of reading the whole graph.

use std::sync::Arc;

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning::ln::msgs::UnsignedChannelAnnouncement;
use lightning::types::features::ChannelFeatures;

use super::*;
use crate::logging::ldk::LdkLogger;
use crate::routing::graph::Utxos;

/// More channels and nodes than a slice has.
const CHANNELS: u64 = 3 * SLICE as u64 + 7;

fn node(number: u64) -> NodeId {
    let mut secret = [1; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    let secret = SecretKey::from_slice(&secret).unwrap();
    NodeId::from_pubkey(&secret.public_key(&Secp256k1::new()))
}

fn add_channel(graph: &NetworkGraph, scid: u64, [one, two]: [NodeId; 2]) {
    let announcement = UnsignedChannelAnnouncement {
        features: ChannelFeatures::empty(),
        chain_hash: ChainHash::using_genesis_block(Network::Regtest),
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
        .unwrap();
}

/// A ring: channel `n` is between nodes `n - 1` and `n`.
fn ring() -> NetworkGraph {
    let graph = NetworkGraph::new(Network::Regtest, Arc::new(LdkLogger));
    let nodes: Vec<_> = (0..CHANNELS).map(node).collect();
    let ends = nodes.iter().zip(nodes.iter().cycle().skip(1));
    for (scid, (one, two)) in (1..).zip(ends) {
        add_channel(&graph, scid, [*one, *two]);
    }
    graph
}

#[test]
fn everything_is_read_once_in_order() {
    let graph = ring();
    let us = node(1_000_000);
    let whole = WholeGraph::without_channels(&graph, us);
    let mut scids = Vec::new();
    whole.read_edges(true, |edge| scids.push(edge.scid));
    assert_eq!(scids, (1..=CHANNELS).collect::<Vec<_>>());
    let mut nodes = Vec::new();
    whole.read_nodes(|node, _| nodes.push(*node));
    let mut expected: Vec<_> = (0..CHANNELS).map(node).chain([us]).collect();
    expected.sort();
    assert_eq!(nodes, expected);
    assert_eq!(whole.num_nodes(), expected.len());
}

/// If the lock were held while a channel is converted, this would never end.
#[test]
fn gossip_is_accepted_while_the_graph_is_read() {
    let graph = ring();
    let whole = WholeGraph::without_channels(&graph, node(1_000_000));
    let (mut scids, mut next) = (Vec::new(), CHANNELS);
    whole.read_edges(false, |edge| {
        scids.push(edge.scid);
        next += 1;
        add_channel(&graph, next, [node(0), node(next)]);
        if edge.scid == 1 {
            graph.channel_failed_permanent(CHANNELS);
        }
    });
    // Without the one that was removed in the meantime.
    assert_eq!(scids, (1..CHANNELS).collect::<Vec<_>>());
    let mut nodes = 0;
    whole.read_nodes(|_, _| {
        nodes += 1;
        next += 1;
        add_channel(&graph, next, [node(0), node(next)]);
    });
    assert_eq!(nodes, whole.num_nodes());
}
