//! Transactions and outputs of the wallet: `listchaintxns`, `listunspent`.

use clap::Args;
use serde_json::{Value, json};

use super::connection::Node;
use super::error::{CliError, error};
use super::output::{print, print_json};
use lnd_api::proto::lnrpc::{GetTransactionsRequest, ListUnspentRequest, OutPoint, Utxo};

/// List the wallet's on-chain transactions.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ListChainTxns {
    /// First block height to include
    #[arg(long, default_value_t = 0)]
    start_height: i32,
    /// Last block height to include; -1 also lists unconfirmed transactions
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    end_height: i32,
    /// Number of transactions to skip
    #[arg(long, default_value_t = 0)]
    index_offset: u32,
    /// Maximum number of transactions; 0 for all
    #[arg(long, default_value_t = 0)]
    max_transactions: u32,
}

impl ListChainTxns {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        if self.end_height != -1 && self.start_height > self.end_height {
            return error(
                "start_height should be less than end_height if end_height is not equal to -1",
            );
        }
        let request = GetTransactionsRequest {
            start_height: self.start_height,
            end_height: self.end_height,
            index_offset: self.index_offset,
            max_transactions: self.max_transactions,
            ..Default::default()
        };
        print(node.lightning.get_transactions(request).await?.get_ref())
    }
}

/// List the wallet's unspent outputs.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ListUnspent {
    /// Minimum number of confirmations [default: 0]
    #[arg(id = "min", value_name = "MIN-CONFS")]
    min: Option<i32>,
    /// Maximum number of confirmations [default: no limit]
    #[arg(id = "max", value_name = "MAX-CONFS")]
    max: Option<i32>,
    /// Minimum number of confirmations [default: 0]
    #[arg(long, conflicts_with = "min")]
    min_confs: Option<i32>,
    /// Maximum number of confirmations [default: no limit]
    #[arg(long, conflicts_with = "max", requires = "min_confs")]
    max_confs: Option<i32>,
    /// List only unconfirmed outputs
    #[arg(long, conflicts_with_all = ["min", "max", "min_confs", "max_confs"])]
    unconfirmed_only: bool,
}

impl ListUnspent {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let max = self.max_confs.or(self.max).unwrap_or(0);
        let request = ListUnspentRequest {
            min_confs: self.min_confs.or(self.min).unwrap_or(0),
            max_confs: match (max, self.unconfirmed_only) {
                (0, false) => i32::MAX,
                (max, _) => max,
            },
            ..Default::default()
        };
        let found = node.lightning.list_unspent(request).await?.into_inner();
        let utxos: Vec<_> = found.utxos.iter().map(utxo).collect();
        print_json(&json!({ "utxos": utxos }))
    }
}

/// Formats an output as lncli does: 64-bit numbers as JSON numbers, the outpoint as one string.
fn utxo(utxo: &Utxo) -> Value {
    json!({
        "address_type": utxo.address_type,
        "address": utxo.address,
        "amount_sat": utxo.amount_sat,
        "pk_script": utxo.pk_script,
        "outpoint": outpoint(utxo.outpoint.as_ref()),
        "confirmations": utxo.confirmations,
    })
}

/// Formats an outpoint as `txid:index`.
pub(crate) fn outpoint(output: Option<&OutPoint>) -> String {
    let output = output.cloned().unwrap_or_default();
    format!("{}:{}", output.txid_str, output.output_index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lnd_api::proto::lnrpc::AddressType;

    #[test]
    fn outputs_are_printed_as_by_lncli() {
        let text = include_str!("../../lnd-api/tests/data/lnd-output/listunspent.json");
        let recorded: Value = serde_json::from_str(text).unwrap();
        let recorded = &recorded["utxos"][0];
        let text = |member: &str| recorded[member].as_str().unwrap().to_owned();
        let point: bitcoin::OutPoint = text("outpoint").parse().unwrap();
        let message = Utxo {
            address_type: AddressType::TaprootPubkey.into(),
            address: text("address"),
            amount_sat: recorded["amount_sat"].as_i64().unwrap(),
            pk_script: text("pk_script"),
            outpoint: Some(super::super::values::wallet_output(&point)),
            confirmations: recorded["confirmations"].as_i64().unwrap(),
        };
        assert_eq!(utxo(&message), *recorded);
    }
}
