//! Tests of broadcasting against a bitcoind with recorded responses.

use serde_json::json;

use super::test_data::transaction;
use super::*;
use crate::chain::test_server::{Reply, TestServer};

#[test]
fn package_responses_are_interpreted() {
    let sent = json!({"package_msg": "success", "tx-results": {"w": {"txid": "t"}}});
    assert_eq!(refusal_of_package(&sent), None);
    let old = json!({"tx-results": {"w": {"txid": "t", "vsize": 100}}});
    assert_eq!(refusal_of_package(&old), None);
    let refused = json!({
        "package_msg": "transaction failed",
        "tx-results": {"w": {"error": "min relay fee not met"}},
    });
    let reason = refusal_of_package(&refused).unwrap();
    assert!(reason.contains("transaction failed") && reason.contains("min relay fee not met"));
}

#[test]
fn known_transactions_count_as_sent() {
    assert!(is_known(-27, "Transaction outputs already in utxo set"));
    assert!(is_known(-26, "txn-already-known"));
    assert!(!is_known(-26, "min relay fee not met, 0 < 110"));
    assert!(!is_known(-25, "bad-txns-inputs-missingorspent"));
}

#[tokio::test]
async fn several_transactions_are_sent_as_a_package() {
    let answer = json!({"package_msg": "success", "tx-results": {}});
    let server = TestServer::start(vec![Reply::result(json!("txid")), Reply::result(answer)]);
    let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
    let parent = transaction(&[], 1);
    let child = transaction(&[&parent], 2);
    broadcaster
        .publish(std::slice::from_ref(&parent))
        .await
        .unwrap();
    broadcaster.publish(&[child, parent]).await.unwrap();
    assert_eq!(server.methods(), ["sendrawtransaction", "submitpackage"]);
}

#[tokio::test]
async fn rejected_package_is_sent_one_by_one_and_the_child_decides() {
    let refused = json!({"package_msg": "package-mempool-limits", "tx-results": {}});
    let server = TestServer::start(vec![
        Reply::result(refused),
        Reply::error(-27, "Transaction outputs already in utxo set"),
        Reply::result(json!("txid")),
    ]);
    let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
    let parent = transaction(&[], 1);
    broadcaster
        .publish(&[transaction(&[&parent], 2), parent])
        .await
        .unwrap();
    let methods = ["submitpackage", "sendrawtransaction", "sendrawtransaction"];
    assert_eq!(server.methods(), methods);
}

#[tokio::test]
async fn submissions_wait_for_bitcoind_and_are_sent_once() {
    let server = TestServer::start(vec![
        Reply::error(-28, "Loading block index…"),
        Reply::result(json!("txid")),
    ]);
    let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
    let one = transaction(&[], 1);
    broadcaster.broadcast_transactions(&[&one]);
    broadcaster.broadcast_transactions(&[&one]);
    assert!(broadcaster.send_due().await.is_err());
    assert_eq!(broadcaster.queue().len(), 1, "merged, and kept");
    assert_eq!(broadcaster.send_due().await.unwrap(), None);
    assert_eq!(broadcaster.queue().len(), 0);
    assert_eq!(server.methods().len(), 2);
}

#[tokio::test]
async fn new_submission_is_tried_soon_after_a_long_outage() {
    let server = TestServer::by_method(|_| Reply::error(-28, "Loading block index…"));
    let broadcaster = Arc::new(Broadcaster::new(Arc::new(server.bitcoind())));
    let spends = |sat| transaction(&[&transaction(&[], sat)], sat);
    broadcaster.broadcast_transactions(&[&spends(1)]);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn({
        let broadcaster = broadcaster.clone();
        async move { broadcaster.run(stop).await }
    });
    let tried = async |count| {
        while server.methods().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, tried(3)).await.unwrap();
    // The next try is due in four seconds.
    broadcaster.broadcast_transactions(&[&spends(2)]);
    let limit = FIRST_PAUSE * 5 / 2;
    tokio::time::timeout(limit, tried(4)).await.unwrap();
}

#[tokio::test]
async fn failed_submission_does_not_block_the_next() {
    for failure in [
        Reply::empty("403 Forbidden"),
        Reply::empty("503 Service Unavailable"),
        Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec()),
        Reply::error(-26, "min relay fee not met"),
        Reply::error(-32601, "Method not found"),
    ] {
        let server = TestServer::by_method(move |method| match method {
            "submitpackage" => failure.clone(),
            _ => Reply::result(json!("txid")),
        });
        let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
        let parent = transaction(&[], 1);
        let child = transaction(&[&parent], 2);
        let other = transaction(&[&transaction(&[], 3)], 3);
        broadcaster.broadcast_transactions(&[&parent, &child]);
        broadcaster.broadcast_transactions(&[&other]);
        assert_eq!(broadcaster.send_due().await.unwrap(), None);
        let sent = server.methods();
        let single = sent.iter().filter(|method| *method == "sendrawtransaction");
        assert_eq!(single.count(), 3, "{sent:?}");
    }
}

#[tokio::test]
async fn rejected_transaction_is_retried() {
    let server = TestServer::start(vec![
        Reply::error(-25, "bad-txns-inputs-missingorspent"),
        Reply::result(json!("txid")),
    ]);
    let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
    broadcaster.broadcast_transactions(&[&transaction(&[], 1)]);
    while let Some(due) = broadcaster.send_due().await.unwrap() {
        broadcaster.until_arrival(Some(due)).await;
    }
    assert_eq!(server.methods().len(), 2);
}

#[tokio::test]
async fn urgent_transaction_does_not_wait_behind_idle_ones() {
    let server = TestServer::by_method(|_| Reply::error(-25, "bad-txns-inputs-missingorspent"));
    let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
    let spends = |sat| transaction(&[&transaction(&[], sat)], sat);
    for sat in 1..=200 {
        let idle = Submission::new(vec![spends(sat)]);
        broadcaster.submit(idle.with_priority(Priority::Idle));
    }
    let claim = spends(1_000);
    broadcaster.broadcast_transactions(&[&claim]);
    let started = Instant::now();
    assert!(broadcaster.send_due().await.unwrap().is_some());
    // A delay of 100 ms per rejection would add up to 20 seconds.
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(server.methods().len(), 201);
    let first = &server.params()[..MAX_PARALLEL];
    let hex = bitcoin::consensus::encode::serialize_hex(&claim);
    assert!(first.iter().any(|params| params[0] == hex), "{first:?}");
}

#[tokio::test]
async fn hanging_call_does_not_block_others() {
    let server = TestServer::start(vec![Reply::Silence, Reply::result(json!("txid"))]);
    let bitcoind = server.bitcoind().with_limit(Duration::from_secs(60));
    let broadcaster = Arc::new(Broadcaster::new(Arc::new(bitcoind)));
    let spends = |sat| transaction(&[&transaction(&[], sat)], sat);
    broadcaster.broadcast_transactions(&[&spends(1)]);
    let sending = tokio::spawn({
        let broadcaster = broadcaster.clone();
        async move { broadcaster.send_due().await.map(drop) }
    });
    let all_called = async |count| {
        while server.methods().len() < count {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, all_called(1)).await.unwrap();
    broadcaster.broadcast_transactions(&[&spends(2)]);
    tokio::time::timeout(limit, all_called(2)).await.unwrap();
    sending.abort();
}

#[test]
fn package_error_does_not_count_as_missing_inputs() {
    let refused = |message: &str| ChainError::Rpc {
        method: "sendrawtransaction",
        code: -26,
        message: message.to_owned(),
    };
    let missing = format!("{MISSING_INPUTS}; as a package: package-mempool-limits");
    assert_eq!(failure(&refused(&missing)), Failure::MissingInputs);
    let fee = format!("min relay fee not met; as a package: {MISSING_INPUTS}");
    assert_eq!(failure(&refused(&fee)), Failure::Refused);
}
