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
async fn the_end_is_noticed_behind_data_that_nobody_reads() {
    let (mut theirs, ours) = pair().await;
    theirs.write_all(b"never read").unwrap();
    ours.readable().await.unwrap();
    assert!(!is_hung_up(&ours).await, "it is still open");
    drop(theirs);
    let noticed = timeout(Duration::from_secs(10), async {
        while !is_hung_up(&ours).await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    noticed.await.expect("noticed");
}

#[tokio::test]
async fn a_silent_connection_is_no_hang_up() {
    let (_theirs, ours) = pair().await;
    assert!(!is_hung_up(&ours).await);
}

#[tokio::test]
async fn a_socket_that_is_full_stops_reading_only_behind_a_large_message() {
    let (_theirs, ours) = pair().await;
    ours.writable().await.unwrap();
    let mut descriptor = Descriptor::new(ours);
    // Fills the buffers of both ends: nobody reads.
    let mut small = [0; LARGE].as_slice();
    while descriptor.send_data(small, true) == small.len() {}
    small = &small[..10];
    assert_eq!(descriptor.send_data(small, true), 0);
    assert_eq!(descriptor.0.state(), (true, true), "a small message waits");
    assert_eq!(descriptor.send_data(&[0; LARGE + 1], true), 0);
    assert_eq!(descriptor.0.state(), (false, true), "a large one waits");
    assert_eq!(descriptor.send_data(small, true), 0);
    assert_eq!(descriptor.0.state(), (false, true), "the rest of it waits");
    assert_eq!(descriptor.send_data(small, false), 0);
    assert_eq!(descriptor.0.state(), (false, true), "LDK wants no more");
}

#[tokio::test]
async fn a_connection_that_is_closed_is_forgotten_by_ldk() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    let stream = TcpStream::connect(bob.address).await.unwrap();
    let close = CancellationToken::new();
    let peers = Arc::clone(&alice.peers);
    let served = tokio::spawn(serve_outbound(peers, bob.id, stream, close.clone()));
    bob.until("connected", || {
        alice.peers.peer_by_node_id(&bob.id).is_some()
            && bob.peers.peer_by_node_id(&alice.id).is_some()
    })
    .await;
    close.cancel();
    served.await.unwrap();
    assert!(alice.peers.peer_by_node_id(&bob.id).is_none());
    bob.until("the other end has noticed", || {
        bob.peers.peer_by_node_id(&alice.id).is_none()
    })
    .await;
}
