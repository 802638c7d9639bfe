//! Tests of looking up funding outputs in bitcoind.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, ScriptBuf};
use serde_json::{Value, json};

use super::*;
use crate::chain::test_server::{Reply, TestServer};

const HEIGHT: u64 = 100;

fn txid(number: u8) -> Txid {
    Txid::from_byte_array([number; 32])
}

/// The short channel id of output 7 of the transaction with this index in the block.
fn scid(index: u64) -> u64 {
    HEIGHT << 40 | index << 16 | 7
}

/// A chain whose block 100 has two transactions; `gettxout` returns `output`.
fn chain(output: Value) -> (TestServer, FundingOutputs) {
    let server = TestServer::by_method(move |method| match method {
        "getblockhash" => Reply::result(json!(txid(9))),
        "getblock" => Reply::result(json!({ "tx": [txid(1), txid(2)] })),
        "gettxout" => Reply::result(output.clone()),
        _ => Reply::error(-32601, "Method not found"),
    });
    let outputs = FundingOutputs::new(Arc::new(server.bitcoind()));
    (server, outputs)
}

fn unspent(confirmations: u32) -> Value {
    let script = json!({ "hex": "0014" });
    json!({
        "bestblock": txid(8), "confirmations": confirmations, "value": 0.1234_5678,
        "scriptPubKey": script,
    })
}

#[tokio::test]
async fn finds_value_and_script_of_an_output() {
    let (_server, outputs) = chain(unspent(6));
    let output = TxOut {
        value: Amount::from_sat(12_345_678),
        script_pubkey: ScriptBuf::from_hex("0014").unwrap(),
    };
    assert_eq!(outputs.find(scid(1)).await, Ok(output));
}

#[tokio::test]
async fn distinguishes_missing_spent_young_and_unknown_outputs() {
    let (_server, outputs) = chain(Value::Null);
    assert_eq!(outputs.find(scid(2)).await, Err(NoOutput::Missing));
    assert_eq!(outputs.find(scid(1)).await, Err(NoOutput::Spent));
    let (_server, outputs) = chain(unspent(4));
    let young = outputs.find(scid(1)).await;
    assert!(
        matches!(young, Err(NoOutput::Young { lacks: 2, .. })),
        "{young:?}"
    );
    let server = TestServer::start(vec![Reply::error(-8, "Block height out of range")]);
    let outputs = FundingOutputs::new(Arc::new(server.bitcoind()));
    assert_eq!(outputs.find(scid(1)).await, Err(NoOutput::Unknown));
}

#[tokio::test]
async fn fetches_each_block_once() {
    let (server, outputs) = chain(Value::Null);
    let lookups = (0..50).map(|index| outputs.find(scid(index)));
    let found = futures_util::future::join_all(lookups).await;
    let missing = found
        .iter()
        .filter(|found| **found == Err(NoOutput::Missing));
    assert_eq!(missing.count(), 48);
    let blocks = server
        .methods()
        .into_iter()
        .filter(|method| method == "getblock");
    assert_eq!(blocks.count(), 1);
}

#[tokio::test]
async fn fetches_a_block_again_after_a_reorg() {
    use std::sync::atomic::{AtomicU8, Ordering};
    let tip = Arc::new(AtomicU8::new(1));
    let seen = Arc::clone(&tip);
    let server = TestServer::by_method(move |method| {
        let block = txid(seen.load(Ordering::Relaxed));
        match method {
            "getblockhash" => Reply::result(json!(block)),
            "getblock" => Reply::result(json!({ "tx": [block] })),
            _ => Reply::result(Value::Null),
        }
    });
    let outputs = FundingOutputs::new(Arc::new(server.bitcoind()));
    assert_eq!(outputs.find(scid(0)).await, Err(NoOutput::Spent));
    tip.store(2, Ordering::Relaxed);
    assert_eq!(outputs.find(scid(0)).await, Err(NoOutput::Unknown));
    assert_eq!(
        outputs.find(scid(0)).await,
        Err(NoOutput::Spent),
        "in the new block"
    );
    let blocks = server
        .methods()
        .into_iter()
        .filter(|method| method == "getblock");
    assert_eq!(blocks.count(), 2);
}

#[test]
fn block_cache_is_bounded() {
    let server = TestServer::start(vec![Reply::result(Value::Null)]);
    let outputs = FundingOutputs::new(Arc::new(server.bitcoind()));
    let fill = |height| {
        let block = Block {
            hash: BlockHash::all_zeros(),
            txids: vec![txid(1); 1_000],
        };
        let _ = outputs.slot(height).set(block);
    };
    (0..1_000).for_each(fill);
    let blocks = outputs.blocks.lock().unwrap();
    assert!(txids(&blocks) <= MAX_TXIDS + 1_000);
    assert_eq!(
        blocks.back().unwrap().0,
        999,
        "the oldest blocks are evicted"
    );
    drop(blocks);
    for height in 1_000..2_000 {
        outputs.slot(height);
    }
    assert_eq!(outputs.blocks.lock().unwrap().len(), MAX_BLOCKS);
}
