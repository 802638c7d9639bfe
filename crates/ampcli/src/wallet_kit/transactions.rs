//! Single transactions: `estimatefeerate`, `bumpfee`, `labeltx`, `publishtx`, `gettx`.

use bitcoin::consensus::encode::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Transaction, Txid};
use clap::Args;
use serde_json::json;

use crate::connection::Node;
use crate::error::{CliError, error};
use crate::output::{print, print_json, print_text};
use crate::values::{Hex, hex, outpoint, wallet_output};
use lnd_api::proto::walletrpc;

/// The number of sat per 1000 weight units in one sat per virtual byte.
const KW_PER_VBYTE: i64 = 250;

/// Estimate the fee rate for a confirmation target.
#[derive(Debug, Args)]
pub(super) struct EstimateFeeRate {
    /// Confirmation target (blocks)
    #[arg(value_name = "CONF_TARGET")]
    conf_target: i32,
}

impl EstimateFeeRate {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = walletrpc::EstimateFeeRequest {
            conf_target: self.conf_target,
        };
        let rate = node.wallet.estimate_fee(request).await?.into_inner();
        let min_relay_fee = rate.min_relay_fee_sat_per_kw;
        print_json(&json!({
            "sat_per_kw": rate.sat_per_kw,
            "sat_per_vbyte": rate.sat_per_kw / KW_PER_VBYTE,
            "min_relay_fee_sat_per_kw": min_relay_fee,
            "min_relay_fee_sat_per_vbyte": min_relay_fee / KW_PER_VBYTE,
        }))
    }
}

/// Bump the fee of an unconfirmed payment of ours (RBF) or of a cooperative close (CPFP).
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(super) struct BumpFee {
    /// Any output of the payment or closing transaction (txid:index)
    #[arg(value_name = "OUTPOINT", value_parser = outpoint)]
    payment: OutPoint,
    /// Confirmation target for fee estimation (blocks); either this or sat_per_vbyte is required
    #[arg(long, default_value_t = 0)]
    conf_target: u32,
    /// Fee rate (sat/vB)
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// Bump the fee immediately; has no effect, ampd always does
    #[arg(long, alias = "force")]
    immediate: bool,
    /// Maximum fee (sat) of the replacement or child transaction; 0 means no limit
    #[arg(long, default_value_t = 0)]
    budget: u64,
    /// Deadline (blocks) for the fee bump; not supported
    #[arg(long, default_value_t = 0)]
    deadline_delta: u32,
}

impl BumpFee {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = walletrpc::BumpFeeRequest {
            outpoint: Some(wallet_output(&self.payment)),
            target_conf: self.conf_target,
            sat_per_vbyte: self.sat_per_vbyte,
            immediate: self.immediate,
            budget: self.budget,
            deadline_delta: self.deadline_delta,
            ..Default::default()
        };
        print(node.wallet.bump_fee(request).await?.get_ref())
    }
}

/// Label a transaction.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(super) struct LabelTx {
    /// Transaction ID
    txid: Txid,
    /// Label for the transaction
    label: String,
    /// Replace an existing label
    #[arg(long)]
    overwrite: bool,
}

impl LabelTx {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = walletrpc::LabelTransactionRequest {
            txid: self.txid.to_byte_array().to_vec(),
            label: self.label.clone(),
            overwrite: self.overwrite,
        };
        node.wallet.label_transaction(request).await?;
        let (txid, label) = (self.txid, self.label);
        print_text(&format!("Transaction: {txid} labelled with: {label}\n"))
    }
}

/// Publish a transaction.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(super) struct PublishTx {
    /// Raw transaction (hex)
    #[arg(value_name = "TX_HEX", value_parser = hex)]
    transaction: Hex,
    /// Label for the transaction
    #[arg(long, default_value = "")]
    label: String,
}

impl PublishTx {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let Ok(transaction) = deserialize::<Transaction>(&self.transaction.0) else {
            return error("TX_HEX is not a valid transaction");
        };
        let request = walletrpc::Transaction {
            tx_hex: self.transaction.0,
            label: self.label,
        };
        node.wallet.publish_transaction(request).await?;
        print_json(&json!({ "txid": transaction.compute_txid().to_string() }))
    }
}

/// Show a transaction of the wallet.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(super) struct GetTx {
    /// Transaction ID
    txid: Txid,
}

impl GetTx {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = walletrpc::GetTransactionRequest {
            txid: self.txid.to_string(),
        };
        print(node.wallet.get_transaction(request).await?.get_ref())
    }
}
