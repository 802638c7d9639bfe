//! Transactions for tests of the queue.

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, absolute, transaction};

/// A transaction that spends the first output of each parent; `sat` makes it unique.
pub(super) fn transaction(parents: &[&Transaction], sat: u64) -> Transaction {
    let input = parents
        .iter()
        .map(|parent| TxIn {
            previous_output: OutPoint::new(parent.compute_txid(), 0),
            ..TxIn::default()
        })
        .collect();
    let output = TxOut {
        value: Amount::from_sat(sat),
        script_pubkey: ScriptBuf::new(),
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input,
        output: vec![output],
    }
}
