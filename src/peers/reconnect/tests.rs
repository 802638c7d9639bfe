use super::*;
use crate::channels::test_node::{TestNode, two_nodes};

/// Runs the loop of a node until the token is dropped.
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
async fn channel_peer_that_drops_is_connected_again() {
    let (alice, bob, _chain, _point) = two_nodes(50_000, 0).await;
    let _running = keep_connected(&alice);
    for _ in 0..2 {
        bob.peers.disconnect_by_node_id(alice.id);
        assert!(!bob.connector.is_connected(&alice.id));
        bob.until("alice is back", || bob.connector.is_connected(&alice.id))
            .await;
        alice
            .until("the channel is usable", || {
                !alice.manager.list_usable_channels().is_empty()
            })
            .await;
    }
}

#[tokio::test]
async fn permanent_peer_is_connected_and_others_are_left_alone() {
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
async fn stopped_loop_reconnects_nobody() {
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
fn pause_doubles_up_to_its_limit() {
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
