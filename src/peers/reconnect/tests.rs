//! Reconnecting to peers.

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use lightning::ln::msgs::{UnsignedChannelAnnouncement, UnsignedNodeAnnouncement};
use lightning::routing::gossip::{NodeAlias, NodeId};
use lightning::types::features::{ChannelFeatures, NodeFeatures};

use super::*;
use crate::channels::test_node::{TestNode, two_nodes};
use crate::routing::graph::Utxos;

/// Runs the reconnect loop of a node until the guard is dropped.
fn keep_connected(node: &TestNode) -> (Arc<Reconnector>, tokio_util::sync::DropGuard) {
    let reconnector = Arc::new(Reconnector::new(
        node.connector.clone(),
        node.store.clone(),
        node.channel_peers(),
        node.graph.clone(),
    ));
    let stop = CancellationToken::new();
    let running = Arc::clone(&reconnector);
    let token = stop.clone();
    tokio::spawn(async move { running.run(token).await });
    (reconnector, stop.drop_guard())
}

#[tokio::test]
async fn reconnects_to_channel_peers() {
    let (alice, bob, _chain, _point) = two_nodes(50_000, 0).await;
    let _running = keep_connected(&alice);
    for _ in 0..2 {
        bob.peers.disconnect_by_node_id(alice.id);
        assert!(!bob.connector.is_connected(&alice.id));
        bob.until("alice is reconnected", || {
            bob.connector.is_connected(&alice.id)
        })
        .await;
        alice
            .until("the channel is usable", || {
                !alice.manager.list_usable_channels().is_empty()
            })
            .await;
    }
}

#[tokio::test]
async fn reconnects_only_to_permanent_and_channel_peers() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    let carol = TestNode::start(3).await;
    for peer in [&bob, &carol] {
        alice.store.remember(peer.id, peer.address.to_string());
    }
    let (reconnector, _stop) = keep_connected(&alice);
    reconnector.keep(bob.id);
    bob.until("alice is there", || bob.connector.is_connected(&alice.id))
        .await;
    assert!(!alice.connector.is_connected(&carol.id));
}

#[tokio::test]
async fn uses_the_announced_address_if_none_is_stored() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    announce(&alice, &bob);
    let (reconnector, _stop) = keep_connected(&alice);
    reconnector.keep(bob.id);
    bob.until("alice is there", || bob.connector.is_connected(&alice.id))
        .await;
    let remembered = [(bob.id, bob.address.to_string())];
    let book = &alice.store.book;
    alice
        .until("the address is stored", || {
            book.lock().unwrap()[..] == remembered
        })
        .await;
}

/// Adds `of` and its address to the graph of `node`, with the channel that this requires.
fn announce(node: &TestNode, of: &TestNode) {
    let (one, two) = (NodeId::from_pubkey(&node.id), NodeId::from_pubkey(&of.id));
    let (node_id_1, node_id_2) = if one < two { (one, two) } else { (two, one) };
    let channel = UnsignedChannelAnnouncement {
        features: ChannelFeatures::empty(),
        chain_hash: ChainHash::using_genesis_block(Network::Regtest),
        short_channel_id: 1,
        node_id_1,
        node_id_2,
        bitcoin_key_1: node_id_1,
        bitcoin_key_2: node_id_2,
        excess_data: Vec::new(),
    };
    let unchecked: Option<&Utxos> = None;
    node.graph
        .update_channel_from_unsigned_announcement(&channel, &unchecked)
        .unwrap();
    let announcement = UnsignedNodeAnnouncement {
        features: NodeFeatures::empty(),
        timestamp: 1,
        node_id: two,
        rgb: [0; 3],
        alias: NodeAlias([0; 32]),
        addresses: vec![of.address.into()],
        excess_address_data: Vec::new(),
        excess_data: Vec::new(),
    };
    node.graph
        .update_node_from_unsigned_announcement(&announcement)
        .unwrap();
}

#[tokio::test]
async fn stopped_loop_does_not_reconnect() {
    let alice = TestNode::start(1).await;
    let reconnector = Reconnector::new(
        alice.connector.clone(),
        alice.store.clone(),
        alice.channel_peers(),
        alice.graph.clone(),
    );
    let stop = CancellationToken::new();
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), reconnector.run(stop)).await;
    ended.unwrap();
}

#[test]
fn backoff_doubles_up_to_its_limit() {
    let pauses: Vec<u64> = [0, 1, 2, 3, 9, 10, u32::MAX]
        .map(|n| pause(n).as_secs())
        .to_vec();
    assert_eq!(pauses, [1, 1, 2, 4, 256, 300, 300]);
}

#[test]
fn jitter_spreads_by_a_quarter() {
    let second = Duration::from_secs(1);
    assert_eq!(jittered(second, 0), Duration::from_millis(750));
    assert_eq!(jittered(second, u32::MAX), Duration::from_millis(1250));
}
