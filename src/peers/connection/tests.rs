//! Connections: reading, writing, slow peers and disconnections.

use std::io::Write;

use tokio::net::TcpListener;

use super::*;
use crate::channels::test_node::TestNode;

async fn pair() -> (std::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    (theirs, ours)
}

#[tokio::test]
async fn detects_disconnect_behind_unread_data() {
    let (mut theirs, ours) = pair().await;
    theirs.write_all(b"never read").unwrap();
    ours.readable().await.unwrap();
    assert!(
        !is_hung_up(&ours).await,
        "an open connection counts as closed"
    );
    drop(theirs);
    let noticed = timeout(Duration::from_secs(10), async {
        while !is_hung_up(&ours).await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    noticed.await.expect("noticed");
}

#[tokio::test]
async fn idle_connection_is_not_a_disconnect() {
    let (_theirs, ours) = pair().await;
    assert!(!is_hung_up(&ours).await);
}

#[tokio::test]
async fn full_socket_stops_reading_only_behind_a_large_message() {
    let (_theirs, ours) = pair().await;
    ours.writable().await.unwrap();
    let mut descriptor = Descriptor::new(ours);
    // Fills the buffers of both sides: nothing is read.
    let mut small = [0; LARGE_MESSAGE_BYTES].as_slice();
    while descriptor.send_data(small, true) == small.len() {}
    small = &small[..10];
    assert_eq!(descriptor.send_data(small, true), 0);
    assert_eq!(
        descriptor.0.state(),
        (true, true),
        "a small message is queued"
    );
    assert_eq!(descriptor.send_data(&[0; LARGE_MESSAGE_BYTES + 1], true), 0);
    assert_eq!(
        descriptor.0.state(),
        (false, true),
        "a large message is queued"
    );
    assert_eq!(descriptor.send_data(small, true), 0);
    assert_eq!(
        descriptor.0.state(),
        (false, true),
        "the rest of the large message is queued"
    );
    assert_eq!(descriptor.send_data(small, false), 0);
    assert_eq!(
        descriptor.0.state(),
        (false, true),
        "LDK has paused reading"
    );
}

#[tokio::test]
async fn closed_connection_is_removed_from_ldk() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    let stream = TcpStream::connect(bob.address).await.unwrap();
    let close = CancellationToken::new();
    let context = Context {
        peers: Arc::clone(&alice.peers),
        commits: alice.store.clone(),
    };
    let served = tokio::spawn(serve_outbound(context, bob.id, stream, close.clone()));
    bob.until("connected", || {
        alice.peers.peer_by_node_id(&bob.id).is_some()
            && bob.peers.peer_by_node_id(&alice.id).is_some()
    })
    .await;
    close.cancel();
    served.await.unwrap();
    assert!(alice.peers.peer_by_node_id(&bob.id).is_none());
    bob.until("the other side is disconnected", || {
        bob.peers.peer_by_node_id(&alice.id).is_none()
    })
    .await;
}
