//! On-chain payments to several addresses: `sendmany`, `estimatefee`.

use clap::Args;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::print;
use super::values::{Amounts, amounts, outpoint, wallet_output};
use super::wallet::Strategy;
use lnd_api::proto::lnrpc::{EstimateFeeRequest, SendManyRequest};

/// Send coins to several on-chain addresses in one transaction.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SendMany {
    /// Addresses and amounts (sat) as JSON: {"address": 1000, "another": 2000}
    #[arg(value_name = "SEND-JSON-STRING", value_parser = amounts)]
    amounts: Amounts,
    /// Confirmation target for fee estimation (blocks); 0 means 6
    #[arg(long, default_value_t = 0)]
    conf_target: i32,
    /// Fee rate (sat/vB); 0 means an estimate for conf_target
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// Minimum number of confirmations of the outputs spent
    #[arg(long, default_value_t = 1)]
    min_confs: i32,
    /// Coin selection strategy; only global-config is supported
    #[arg(long, value_enum, default_value_t = Strategy::GlobalConfig)]
    coin_selection_strategy: Strategy,
    /// Label for the transaction
    #[arg(long, default_value = "")]
    label: String,
}

impl SendMany {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        if self.conf_target != 0 && self.sat_per_vbyte != 0 {
            return error("either conf_target or sat_per_vbyte should be set, but not both");
        }
        let request = SendManyRequest {
            addr_to_amount: self.amounts.signed(),
            target_conf: self.conf_target,
            sat_per_vbyte: self.sat_per_vbyte,
            label: self.label,
            min_confs: self.min_confs,
            spend_unconfirmed: self.min_confs == 0,
            coin_selection_strategy: self.coin_selection_strategy.number(),
            ..Default::default()
        };
        print(node.lightning.send_many(request).await?.get_ref())
    }
}

/// Estimate the fee of an on-chain transaction.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct EstimateFee {
    /// Addresses and amounts (sat) as JSON: {"address": 1000, "another": 2000}
    #[arg(value_name = "SEND-JSON-STRING", value_parser = amounts)]
    amounts: Amounts,
    /// Confirmation target (blocks); required
    #[arg(long, default_value_t = 0)]
    conf_target: i32,
    /// Coin selection strategy; only global-config is supported
    #[arg(long, value_enum, default_value_t = Strategy::GlobalConfig)]
    coin_selection_strategy: Strategy,
    /// Output to spend (txid:index); may be repeated
    #[arg(long, value_parser = outpoint)]
    utxo: Vec<bitcoin::OutPoint>,
}

impl EstimateFee {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = EstimateFeeRequest {
            addr_to_amount: self.amounts.signed(),
            target_conf: self.conf_target,
            coin_selection_strategy: self.coin_selection_strategy.number(),
            inputs: self.utxo.iter().map(wallet_output).collect(),
            ..Default::default()
        };
        print(node.lightning.estimate_fee(request).await?.get_ref())
    }
}
