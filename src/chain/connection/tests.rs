//! Tests of the connection: retries, timeouts and the texts of its errors.

use serde_json::json;

use super::*;
use crate::chain::test_server::{
    Reply, TestServer, bitcoind_at, unreachable_bitcoind, user_password,
};

async fn error_after(reply: Reply) -> ChainError {
    TestServer::start(vec![reply])
        .bitcoind()
        .check()
        .await
        .unwrap_err()
}

#[tokio::test]
async fn refused_connection_names_the_address_and_its_config_key() {
    let text = unreachable_bitcoind()
        .check()
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("connection refused"), "{text}");
    assert!(
        text.contains("127.0.0.1:") && text.contains("bitcoind-rpc-address"),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_password_names_its_config_keys() {
    let error = error_after(Reply::empty("401 Unauthorized")).await;
    assert!(matches!(error, ChainError::WrongPassword { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("bitcoind-rpc-user") && text.contains("bitcoind-rpc-password"));
}

#[tokio::test]
async fn http_statuses_are_distinguished() {
    let forbidden = error_after(Reply::empty("403 Forbidden")).await;
    assert!(
        matches!(forbidden, ChainError::Forbidden { .. }),
        "{forbidden}"
    );
    let busy = error_after(Reply::empty("503 Service Unavailable")).await;
    assert!(matches!(busy, ChainError::Busy { .. }), "{busy}");
    let lost = error_after(Reply::empty("404 Not Found")).await;
    assert!(matches!(lost, ChainError::NotBitcoind { .. }), "{lost}");
}

#[tokio::test]
async fn rejects_responses_that_are_not_bitcoinds() {
    let banner = b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_vec();
    let error = error_after(Reply::Raw(banner)).await;
    assert!(matches!(error, ChainError::NotBitcoind { .. }), "{error}");
    let html = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec();
    let error = error_after(Reply::Raw(html)).await;
    assert!(matches!(error, ChainError::BadAnswer { .. }), "{error}");
    let error = error_after(Reply::result(json!({"chain": 7}))).await;
    assert!(matches!(error, ChainError::BadAnswer { .. }), "{error}");
}

#[tokio::test]
async fn silent_bitcoind_times_out() {
    let server = TestServer::start(vec![Reply::Silence]);
    let bitcoind = server.bitcoind().with_limit(Duration::from_millis(100));
    let error = bitcoind.check().await.unwrap_err();
    assert!(matches!(error, ChainError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn new_cookie_is_picked_up_without_a_failed_call() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".cookie");
    std::fs::write(&path, "__cookie__:old").unwrap();
    let server = TestServer::start(vec![
        Reply::empty("401 Unauthorized"),
        Reply::result(json!("00".repeat(32))),
    ]);
    let bitcoind = bitcoind_at(server.port(), RpcAuth::Cookie(path.clone()));
    bitcoind.connection().credentials().unwrap();
    std::fs::write(&path, "__cookie__:new").unwrap();
    bitcoind.block_hash(0).await.unwrap();
    let sent = server.credentials();
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0], sent[1]);
}

#[tokio::test]
async fn rejected_unchanged_cookie_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".cookie");
    std::fs::write(&path, "__cookie__:x").unwrap();
    let server = TestServer::start(vec![Reply::empty("401 Unauthorized")]);
    let bitcoind = bitcoind_at(server.port(), RpcAuth::Cookie(path));
    let error = bitcoind.check().await.unwrap_err();
    assert!(matches!(error, ChainError::WrongCookie { .. }), "{error}");
}

#[tokio::test]
async fn only_rpc_errors_count_as_refusals() {
    let server = TestServer::start(vec![Reply::error(-8, "Block height out of range")]);
    let error = server.bitcoind().block_hash(9).await.unwrap_err();
    assert!(
        error.is_refusal() && error.to_string().contains("out of range"),
        "{error}"
    );
    assert!(
        !unreachable_bitcoind()
            .check()
            .await
            .unwrap_err()
            .is_refusal()
    );
}

#[tokio::test]
async fn rpc_errors_are_returned_without_retry_or_delay() {
    let server = TestServer::start(vec![Reply::error(-25, "bad-txns-inputs-missingorspent")]);
    let bitcoind = server.bitcoind();
    let started = std::time::Instant::now();
    for _ in 0..20 {
        assert!(bitcoind.block_hash(9).await.unwrap_err().is_refusal());
    }
    // A delay of 100 ms per call would add up to two seconds.
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(server.methods().len(), 20);
}

#[tokio::test]
async fn lost_connection_is_retried_once() {
    let server = TestServer::start(vec![
        Reply::Raw(Vec::new()),
        Reply::result(json!("00".repeat(32))),
    ]);
    server.bitcoind().block_hash(0).await.unwrap();
    let server = TestServer::start(vec![Reply::Raw(Vec::new())]);
    let error = server.bitcoind().block_hash(0).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }), "{error}");
    assert_eq!(server.methods().len(), 2);
}

#[tokio::test]
async fn oversized_response_is_rejected() {
    let mut endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec();
    endless.resize(MAX_RESPONSE_BYTES + 1_000_000, b' ');
    let error = error_after(Reply::Raw(endless)).await;
    assert!(error.to_string().contains("too long"), "{error}");
}

#[test]
fn ipv6_addresses_are_bracketed() {
    let url = |host: &str| {
        let host = host.to_owned();
        RpcAddress { host, port: 8332 }.url()
    };
    assert_eq!(url("::1"), "http://[::1]:8332/");
    assert_eq!(url("localhost"), "http://localhost:8332/");
}

#[test]
fn debug_output_hides_credentials() {
    let bitcoind = bitcoind_at(1, user_password());
    assert!(!format!("{bitcoind:?}").contains("password\""));
}
