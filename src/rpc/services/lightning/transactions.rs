//! GetTransactions and SubscribeTransactions: the wallet's transactions.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Address, BlockHash, Network, Script, TxOut, Txid};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::rpc::convert::on_chain::check_account;
use crate::rpc::transport::streams::{Answers, stream};
use crate::rpc::{Context, signed};
use crate::wallet::HistoryEntry;
use lnd_api::proto::lnrpc::{
    GetTransactionsRequest, OutputDetail, OutputScriptType, PreviousOutPoint, Transaction,
    TransactionDetails,
};

/// Lists the transactions of a height range, in pages.
pub(super) fn list(
    context: &Context,
    request: &GetTransactionsRequest,
) -> Result<TransactionDetails, Status> {
    check_account(&request.account)?;
    let entries = select(context.wallet.transactions(), request);
    Ok(page(entries, request, context.node.network))
}

/// Streams each transaction that is created or confirmed from now on.
pub(super) fn follow(
    context: &Context,
    stop: CancellationToken,
    request: &GetTransactionsRequest,
) -> Result<Answers<Transaction>, Status> {
    check_account(&request.account)?;
    let (wallet, network) = (context.wallet.clone(), context.node.network);
    let mut changes = wallet.changes();
    let mut known = Known::default();
    known.news(wallet.transactions());
    Ok(stream(stop, move |writer| async move {
        while changes.changed().await.is_ok() {
            for entry in known.news(wallet.transactions()) {
                writer.send(message(&entry, network)).await;
            }
        }
        Ok(())
    }))
}

/// The transactions, with their blocks, that a subscriber has seen. Comparing against it, a slow subscriber
/// misses nothing and blocks nobody.
#[derive(Default)]
struct Known(HashMap<Txid, Option<BlockHash>>);

impl Known {
    /// Returns the entries that are new or have confirmed in another block.
    fn news(&mut self, entries: Vec<HistoryEntry>) -> Vec<HistoryEntry> {
        let block = |entry: &HistoryEntry| entry.block.map(|block| block.hash);
        let now = entries.iter().map(|entry| (entry.txid, block(entry)));
        let before = std::mem::replace(&mut self.0, now.collect());
        let is_new = |entry: &HistoryEntry| before.get(&entry.txid) != Some(&block(entry));
        entries.into_iter().filter(is_new).collect()
    }
}

/// A request's height range as lnd reads it: negative heights mean unconfirmed, above all blocks.
struct Heights {
    blocks: RangeInclusive<u32>,
    newest_first: bool,
    unconfirmed: bool,
}

impl Heights {
    fn of(request: &GetTransactionsRequest) -> Self {
        let end = match request.end_height {
            0 => -1,
            given => given,
        };
        let height = |given: i32| u32::try_from(given).unwrap_or(u32::MAX);
        let (first, last) = (height(request.start_height), height(end));
        Self {
            blocks: first.min(last)..=first.max(last),
            newest_first: first > last,
            unconfirmed: request.start_height < 0 || end < 0,
        }
    }

    fn contain(&self, entry: &HistoryEntry) -> bool {
        match entry.block {
            Some(block) => self.blocks.contains(&block.height),
            None => self.unconfirmed,
        }
    }
}

fn select(mut entries: Vec<HistoryEntry>, request: &GetTransactionsRequest) -> Vec<HistoryEntry> {
    let heights = Heights::of(request);
    entries.retain(|entry| heights.contain(entry));
    if heights.newest_first {
        entries.reverse();
    }
    entries
}

fn page(
    entries: Vec<HistoryEntry>,
    request: &GetTransactionsRequest,
    network: Network,
) -> TransactionDetails {
    let number = |given: u32| usize::try_from(given).unwrap_or(usize::MAX);
    let most = match request.max_transactions {
        0 => usize::MAX,
        most => number(most),
    };
    let page = entries.iter().skip(number(request.index_offset)).take(most);
    let mut transactions: Vec<_> = page.map(|entry| message(entry, network)).collect();
    transactions.sort_by_key(|transaction| transaction.num_confirmations);
    let first_index = u64::from(request.index_offset);
    let length = u64::try_from(transactions.len()).unwrap_or(u64::MAX);
    match length {
        0 => TransactionDetails::default(),
        length => TransactionDetails {
            transactions,
            first_index,
            last_index: first_index + (length - 1),
        },
    }
}

/// Returns a transaction in lnd's form.
pub(in crate::rpc) fn message(entry: &HistoryEntry, network: Network) -> Transaction {
    let received = signed(entry.received.to_sat());
    let output_details: Vec<_> = entry
        .tx
        .output
        .iter()
        .zip(&entry.own_outputs)
        .zip(0..)
        .map(|((output, own), index)| output_detail(output, index, *own, network))
        .collect();
    let addresses = output_details.iter().map(|output| output.address.clone());
    let height = entry.block.map_or(0, |block| block.height);
    Transaction {
        tx_hash: entry.txid.to_string(),
        // Both are at most 21 million BTC.
        amount: received - signed(entry.sent.to_sat()),
        num_confirmations: i32::try_from(entry.confirmations).unwrap_or(i32::MAX),
        block_hash: entry.block.map(|b| b.hash.to_string()).unwrap_or_default(),
        block_height: i32::try_from(height).unwrap_or(i32::MAX),
        time_stamp: signed(entry.time),
        total_fees: entry.fee.map_or(0, |fee| signed(fee.to_sat())),
        dest_addresses: addresses.filter(|address| !address.is_empty()).collect(),
        output_details,
        raw_tx_hex: serialize_hex(&*entry.tx),
        label: entry.label.clone(),
        previous_outpoints: previous_outpoints(entry),
    }
}

fn previous_outpoints(entry: &HistoryEntry) -> Vec<PreviousOutPoint> {
    let inputs = entry.tx.input.iter().zip(&entry.own_inputs);
    let previous = |(input, own): (&bitcoin::TxIn, &bool)| PreviousOutPoint {
        outpoint: input.previous_output.to_string(),
        is_our_output: *own,
    };
    inputs.map(previous).collect()
}

fn output_detail(output: &TxOut, index: i64, own: bool, network: Network) -> OutputDetail {
    let script = &output.script_pubkey;
    let address = Address::from_script(script, network);
    OutputDetail {
        output_type: script_type(script).into(),
        address: address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        pk_script: script.to_hex_string(),
        output_index: index,
        amount: signed(output.value.to_sat()),
        is_our_address: own,
    }
}

fn script_type(script: &Script) -> OutputScriptType {
    let kinds = [
        (script.is_p2pkh(), OutputScriptType::ScriptTypePubkeyHash),
        (script.is_p2sh(), OutputScriptType::ScriptTypeScriptHash),
        (
            script.is_p2wpkh(),
            OutputScriptType::ScriptTypeWitnessV0PubkeyHash,
        ),
        (
            script.is_p2wsh(),
            OutputScriptType::ScriptTypeWitnessV0ScriptHash,
        ),
        (
            script.is_p2tr(),
            OutputScriptType::ScriptTypeWitnessV1Taproot,
        ),
        (
            script.is_witness_program(),
            OutputScriptType::ScriptTypeWitnessUnknown,
        ),
        (script.is_p2pk(), OutputScriptType::ScriptTypePubkey),
        (script.is_multisig(), OutputScriptType::ScriptTypeMultisig),
        (script.is_op_return(), OutputScriptType::ScriptTypeNulldata),
    ];
    let found = kinds.into_iter().find(|(is, _)| *is);
    found.map_or(OutputScriptType::ScriptTypeNonStandard, |(_, kind)| kind)
}

#[cfg(test)]
mod tests;
