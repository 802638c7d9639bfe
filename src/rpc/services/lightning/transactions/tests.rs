//! GetTransactions, compared with what lnd prints.

use std::sync::Arc;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Amount, Transaction as Tx};
use serde_json::Value;

use super::*;
use crate::rpc::test_recordings::{number, number_32, printed, recorded, text};
use crate::wallet::HistoryBlock;

/// Returns the wallet's entry for a transaction that lnd printed.
fn entry(printed: &Value) -> HistoryEntry {
    let tx: Tx = deserialize_hex(&text(&printed["raw_tx_hex"])).unwrap();
    let own = |list: &str, member: &str| -> Vec<bool> {
        let list = printed[list].as_array().unwrap().iter();
        list.map(|item| item[member].as_bool().unwrap()).collect()
    };
    let own_outputs = own("output_details", "is_our_address");
    let own_inputs = own("previous_outpoints", "is_our_output");
    let received = tx.output.iter().zip(&own_outputs);
    let received: Amount = received
        .filter(|(_, own)| **own)
        .map(|(o, _)| o.value)
        .sum();
    let amount: i64 = text(&printed["amount"]).parse().unwrap();
    let sent = i64::try_from(received.to_sat()).unwrap() - amount;
    let fee = Amount::from_sat(number(&printed["total_fees"]));
    HistoryEntry {
        txid: tx.compute_txid(),
        block: Some(HistoryBlock {
            height: number_32(&printed["block_height"]),
            hash: text(&printed["block_hash"]).parse().unwrap(),
        }),
        confirmations: number_32(&printed["num_confirmations"]),
        time: number(&printed["time_stamp"]),
        sent: Amount::from_sat(sent.try_into().unwrap()),
        received,
        fee: own_inputs.iter().all(|own| *own).then_some(fee),
        own_inputs,
        own_outputs,
        label: text(&printed["label"]),
        tx: Arc::new(tx),
    }
}

fn entries() -> Vec<HistoryEntry> {
    let printed = recorded("listchaintxns.json");
    let list = printed["transactions"].as_array().unwrap().iter();
    let mut entries: Vec<_> = list.map(entry).collect();
    entries.sort_by_key(|entry| entry.block.map(|block| block.height));
    entries
}

#[test]
fn transactions_match_lnd() {
    for file in ["listchaintxns.json", "listchaintxns_after.json"] {
        let recorded = recorded(file);
        for expected in recorded["transactions"].as_array().unwrap() {
            let message = message(&entry(expected), Network::Regtest);
            assert_eq!(printed(&message), *expected);
        }
    }
}

#[test]
fn transaction_list_matches_lnd() {
    let expected = recorded("listchaintxns.json");
    let all = GetTransactionsRequest::default();
    let list = printed(&page(entries(), &all, Network::Regtest));
    for index in ["first_index", "last_index"] {
        assert_eq!(list[index], expected[index]);
    }
    let confirmations = |list: &Value| -> Vec<u64> {
        let list = list["transactions"].as_array().unwrap().iter();
        list.map(|tx| tx["num_confirmations"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(confirmations(&list), confirmations(&expected));
}

/// Entries at these heights; 0 means unconfirmed.
fn at(heights: &[u32]) -> Vec<HistoryEntry> {
    let first = entries().remove(0);
    let hash = first.block.unwrap().hash;
    let entry = |height: &u32| HistoryEntry {
        block: (*height > 0).then_some(HistoryBlock {
            height: *height,
            hash,
        }),
        ..first.clone()
    };
    heights.iter().map(entry).collect()
}

#[test]
fn height_ranges_match_lnd() {
    let found = |start_height, end_height| -> Vec<u32> {
        let request = GetTransactionsRequest {
            start_height,
            end_height,
            ..Default::default()
        };
        let found = select(at(&[5, 6, 7, 0]), &request);
        found
            .iter()
            .map(|e| e.block.map_or(0, |b| b.height))
            .collect()
    };
    assert_eq!(found(0, 0), [5, 6, 7, 0]);
    assert_eq!(found(0, -1), [5, 6, 7, 0]);
    assert_eq!(found(6, -1), [6, 7, 0]);
    assert_eq!(found(5, 6), [5, 6]);
    assert_eq!(found(6, 5), [6, 5]);
    assert_eq!(found(-1, -1), [0]);
    assert_eq!(found(-1, 6), [0, 7, 6]);
}

#[test]
fn pages_report_first_and_last_index() {
    let indices = |index_offset, max_transactions| {
        let request = GetTransactionsRequest {
            index_offset,
            max_transactions,
            ..Default::default()
        };
        let page = page(at(&[5, 6, 7]), &request, Network::Regtest);
        (page.transactions.len(), page.first_index, page.last_index)
    };
    assert_eq!(indices(0, 0), (3, 0, 2));
    assert_eq!(indices(1, 1), (1, 1, 1));
    assert_eq!(indices(1, 500), (2, 1, 2));
    assert_eq!(indices(3, 0), (0, 0, 0));
    assert_eq!(indices(u32::MAX, u32::MAX), (0, 0, 0));
}

#[test]
fn reports_each_transaction_and_confirmation_once() {
    let mut known = Known::default();
    let [mut unconfirmed, confirmed] = [at(&[0]), at(&[5])];
    assert_eq!(known.news(unconfirmed.clone()).len(), 1);
    assert!(known.news(unconfirmed.clone()).is_empty());
    assert_eq!(known.news(confirmed.clone()).len(), 1);
    unconfirmed.clear();
    assert!(known.news(unconfirmed).is_empty());
    assert_eq!(known.news(confirmed).len(), 1);
}

#[test]
fn recognizes_script_types() {
    let kind = |hex: &str| script_type(&bitcoin::ScriptBuf::from_hex(hex).unwrap());
    let hash = "11".repeat(20);
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    for (script, expected) in [
        (
            format!("76a914{hash}88ac"),
            OutputScriptType::ScriptTypePubkeyHash,
        ),
        (
            format!("a914{hash}87"),
            OutputScriptType::ScriptTypeScriptHash,
        ),
        (
            format!("0014{hash}"),
            OutputScriptType::ScriptTypeWitnessV0PubkeyHash,
        ),
        (
            format!("0020{}", "11".repeat(32)),
            OutputScriptType::ScriptTypeWitnessV0ScriptHash,
        ),
        (
            format!("5120{}", "11".repeat(32)),
            OutputScriptType::ScriptTypeWitnessV1Taproot,
        ),
        (
            "51024e73".into(),
            OutputScriptType::ScriptTypeWitnessUnknown,
        ),
        (format!("21{key}ac"), OutputScriptType::ScriptTypePubkey),
        (
            format!("5121{key}51ae"),
            OutputScriptType::ScriptTypeMultisig,
        ),
        ("6a0401020304".into(), OutputScriptType::ScriptTypeNulldata),
        ("51".into(), OutputScriptType::ScriptTypeNonStandard),
    ] {
        assert_eq!(kind(&script), expected, "{script}");
    }
}
