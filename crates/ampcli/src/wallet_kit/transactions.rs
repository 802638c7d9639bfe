//! One transaction: its fee, its label, sending it.

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

/// Sat per 1000 weight units in one sat per virtual byte.
const KW_PER_VBYTE: i64 = 250;

/// The fee rate for a number of blocks.
#[derive(Debug, Args)]
pub struct EstimateFeeRate {
    #[arg(value_name = "CONF_TARGET")]
    conf_target: i32,
}

impl EstimateFeeRate {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = walletrpc::EstimateFeeRequest {
            conf_target: self.conf_target,
        };
        let rate = node.wallet.estimate_fee(request).await?.into_inner();
        let least = rate.min_relay_fee_sat_per_kw;
        print_json(&json!({
            "sat_per_kw": rate.sat_per_kw,
            "sat_per_vbyte": rate.sat_per_kw / KW_PER_VBYTE,
            "min_relay_fee_sat_per_kw": least,
            "min_relay_fee_sat_per_vbyte": least / KW_PER_VBYTE,
        }))
    }
}

/// Pay more for an unconfirmed payment of ours, or for a cooperative close.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct BumpFee {
    /// Any output of the payment or closing transaction (txid:index)
    #[arg(value_name = "OUTPOINT", value_parser = outpoint)]
    payment: OutPoint,
    /// Blocks within which it should confirm
    #[arg(long, default_value_t = 0)]
    conf_target: u32,
    /// Fee rate
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// At once, which ampd always does
    #[arg(long, alias = "force")]
    immediate: bool,
    /// The most that the new transaction may pay as a fee (sat)
    #[arg(long, default_value_t = 0)]
    budget: u64,
    /// Not supported
    #[arg(long, default_value_t = 0)]
    deadline_delta: u32,
}

impl BumpFee {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
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
pub struct LabelTx {
    txid: Txid,
    label: String,
    /// Also if it has a label already
    #[arg(long)]
    overwrite: bool,
}

impl LabelTx {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
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
pub struct PublishTx {
    /// The raw transaction in hex
    #[arg(value_name = "TX_HEX", value_parser = hex)]
    transaction: Hex,
    /// A note for it
    #[arg(long, default_value = "")]
    label: String,
}

impl PublishTx {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let Ok(transaction) = deserialize::<Transaction>(&self.transaction.0) else {
            return error("not a valid transaction");
        };
        let request = walletrpc::Transaction {
            tx_hex: self.transaction.0,
            label: self.label,
        };
        node.wallet.publish_transaction(request).await?;
        print_json(&json!({ "txid": transaction.compute_txid().to_string() }))
    }
}

/// One transaction of the wallet.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct GetTx {
    txid: Txid,
}

impl GetTx {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = walletrpc::GetTransactionRequest {
            txid: self.txid.to_string(),
        };
        print(node.wallet.get_transaction(request).await?.get_ref())
    }
}
