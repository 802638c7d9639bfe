//! Connecting to peers.

use std::time::Instant;

use tokio::net::TcpListener;

use super::*;
use crate::channels::test_node::{TEST_TIMEOUT, TestNode, two_nodes};
use crate::peers::list;

#[tokio::test]
async fn connects_both_sides() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    alice.connect(&bob).await;
    let (of_alice, of_bob) = (list::peers(&alice.peers), list::peers(&bob.peers));
    assert_eq!((of_alice[0].node_id, of_alice[0].inbound), (bob.id, false));
    assert_eq!(of_alice[0].address, Some(bob.address.to_string()));
    assert_eq!((of_bob[0].node_id, of_bob[0].inbound), (alice.id, true));
    assert_eq!(
        alice.store.book.lock().unwrap()[..],
        [(bob.id, bob.address.to_string())]
    );
    assert!(
        bob.store.book.lock().unwrap().is_empty(),
        "an inbound peer's address was stored"
    );
}

#[tokio::test]
async fn second_request_reports_the_existing_connection() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    alice.connect(&bob).await;
    let address = bob.address.to_string();
    let again = alice
        .connector
        .connect(bob.id, &address, TEST_TIMEOUT)
        .await
        .unwrap();
    assert_eq!(again, Connected::Already);
    let back = alice.address.to_string();
    let other_way = bob
        .connector
        .connect(alice.id, &back, TEST_TIMEOUT)
        .await
        .unwrap();
    assert_eq!(other_way, Connected::Already);
}

#[tokio::test]
async fn wrong_key_fails_immediately() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    let carol = TestNode::start(3).await.id;
    let started = Instant::now();
    let address = bob.address.to_string();
    let error = alice
        .connector
        .connect(carol, &address, TEST_TIMEOUT)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
    assert!(started.elapsed() < TEST_TIMEOUT / 2);
    assert!(alice.store.book.lock().unwrap().is_empty());
}

#[tokio::test]
async fn reports_a_closed_port() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = alice
        .connector
        .connect(bob.id, &address, TEST_TIMEOUT)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn unresponsive_host_times_out_and_its_socket_is_closed() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let limit = Duration::from_millis(300);
    let error = alice
        .connector
        .connect(bob.id, &address, limit)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
    let (stream, _) = silent.accept().await.unwrap();
    let closed = async {
        let mut received = Vec::new();
        loop {
            stream.readable().await.unwrap();
            match stream.try_read_buf(&mut received) {
                Ok(0) => return received.len(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    // Act one of the handshake (BOLT 8), then the end of the stream.
    assert_eq!(timeout(TEST_TIMEOUT, closed).await.unwrap(), 50);
}

#[tokio::test]
async fn rejects_our_own_key() {
    let alice = TestNode::start(1).await;
    let address = alice.address.to_string();
    let error = alice
        .connector
        .connect(alice.id, &address, TEST_TIMEOUT)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot make connection to self");
}

#[tokio::test]
async fn disconnect_removes_only_peers_without_channels() {
    let (alice, bob, _chain, _point) = two_nodes(50_000, 0).await;
    let carol = TestNode::start(3).await;
    alice.connector.disconnect(&bob.id).unwrap();
    let known = |peer| {
        let book = alice.store.book.lock().unwrap();
        book.iter().any(|(known, _)| *known == peer)
    };
    assert!(known(bob.id), "we have a channel with it");
    let absent = alice.connector.disconnect(&carol.id);
    assert!(matches!(absent, Err(DisconnectError::NotConnected(_))));
    alice.connect(&carol).await;
    alice.connector.disconnect(&carol.id).unwrap();
    carol
        .until("alice is disconnected", || {
            !carol.connector.is_connected(&alice.id)
        })
        .await;
    assert!(!known(carol.id));
}

#[test]
fn port_is_optional() {
    let read = |address| with_port(address).map_err(|error| error.to_string());
    assert_eq!(read("example.org"), Ok("example.org:9735".to_owned()));
    assert_eq!(read("example.org:1"), Ok("example.org:1".to_owned()));
    assert_eq!(read("1.2.3.4"), Ok("1.2.3.4:9735".to_owned()));
    assert_eq!(read("::1"), Ok("[::1]:9735".to_owned()));
    assert_eq!(read("[::1]"), Ok("[::1]:9735".to_owned()));
    assert_eq!(read("[::1]:7"), Ok("[::1]:7".to_owned()));
    for wrong in [
        "",
        ":9735",
        "host:",
        "host:70000",
        "host:x",
        "abc.onion:9735",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
