//! PSBTs: `psbt fund`, `psbt sign`, `psbt finalize`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bitcoin::OutPoint;
use bitcoin::hex::DisplayHex;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::leases::leases;
use crate::connection::Node;
use crate::error::CliError;
use crate::output::print_json;
use crate::values::{Amounts, Hex, amounts, base64, wallet_output};
use crate::wallet::Strategy;
use lnd_api::proto::walletrpc::fund_psbt_request::{Fees, Template};
use lnd_api::proto::walletrpc::{
    ChangeAddressType, FinalizePsbtRequest, FundPsbtRequest, SignPsbtRequest, TxTemplate,
};

/// lncli's default for `conf_target`, in blocks.
const DEFAULT_TARGET: u32 = 6;

/// Fund, sign and finalize partially signed transactions (PSBTs).
#[derive(Debug, Args)]
pub(super) struct Psbt {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
enum Command {
    Fund(Box<Fund>),
    Sign(Funded),
    Finalize(Finalize),
}

impl Psbt {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self.command {
            Command::Fund(command) => command.run(node).await,
            Command::Sign(command) => sign(command, node).await,
            Command::Finalize(command) => command.run(node).await,
        }
    }
}

/// Types of change addresses, with lncli's names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChangeType {
    P2tr,
}

/// Fund a PSBT: select its inputs, lease them and add change.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
struct Fund {
    /// PSBT (base64) with the outputs and either all inputs or none
    #[arg(long, value_parser = base64, required_unless_present = "outputs")]
    template_psbt: Option<Hex>,
    /// Addresses and amounts (sat) as JSON: {"address": 1000, "another": 2000}
    #[arg(long, value_parser = amounts, conflicts_with = "template_psbt")]
    outputs: Option<Amounts>,
    /// Outputs to spend, as JSON: ["txid:index", "txid:index"]
    #[arg(long, value_parser = inputs, conflicts_with = "template_psbt")]
    inputs: Option<Inputs>,
    /// Confirmation target for fee estimation (blocks); 0 means 6
    #[arg(long, default_value_t = 0, conflicts_with_all = ["sat_per_vbyte", "sat_per_kw"])]
    conf_target: u32,
    /// Fee rate (sat/vB)
    #[arg(long, conflicts_with = "sat_per_kw")]
    sat_per_vbyte: Option<u64>,
    /// Fee rate (sat per 1000 weight units)
    #[arg(long)]
    sat_per_kw: Option<u64>,
    /// Wallet account; the only one is "default"
    #[arg(long, default_value = "")]
    account: String,
    /// Type of the change address; p2tr is not supported, by default it is p2wkh
    #[arg(long, value_enum)]
    change_type: Option<ChangeType>,
    /// Minimum number of confirmations of the outputs spent
    #[arg(long, default_value_t = 1)]
    min_confs: i32,
    /// Coin selection strategy; only global-config is supported
    #[arg(long, value_enum, default_value_t = Strategy::GlobalConfig)]
    coin_selection_strategy: Strategy,
    /// Maximum ratio of fees to amount; has no effect
    #[arg(long, default_value_t = 0.2)]
    max_fee_ratio: f64,
}

/// Wraps the list, which clap would treat as a repeated flag.
#[derive(Clone, Debug)]
struct Inputs(Vec<OutPoint>);

fn inputs(text: &str) -> Result<Inputs, String> {
    serde_json::from_str(text)
        .map(Inputs)
        .map_err(|error| format!("{error}; expected [\"txid:index\"]"))
}

impl Fund {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let funded = node.wallet.fund_psbt(self.request()).await?.into_inner();
        print_json(&json!({
            "psbt": BASE64_STANDARD.encode(&funded.funded_psbt),
            "change_output_index": funded.change_output_index,
            "locks": leases(&funded.locked_utxos),
        }))
    }

    fn request(self) -> FundPsbtRequest {
        let fees = match (self.sat_per_vbyte, self.sat_per_kw, self.conf_target) {
            (Some(rate), _, _) => Fees::SatPerVbyte(rate),
            (None, Some(rate), _) => Fees::SatPerKw(rate),
            (None, None, 0) => Fees::TargetConf(DEFAULT_TARGET),
            (None, None, blocks) => Fees::TargetConf(blocks),
        };
        let change = match self.change_type {
            None => ChangeAddressType::Unspecified,
            Some(ChangeType::P2tr) => ChangeAddressType::P2tr,
        };
        let template = match self.template_psbt {
            Some(psbt) => Template::Psbt(psbt.0),
            None => Template::Raw(TxTemplate {
                inputs: self
                    .inputs
                    .iter()
                    .flat_map(|i| &i.0)
                    .map(wallet_output)
                    .collect(),
                outputs: self.outputs.map(|amounts| amounts.0).unwrap_or_default(),
            }),
        };
        FundPsbtRequest {
            account: self.account,
            min_confs: self.min_confs,
            spend_unconfirmed: self.min_confs == 0,
            change_type: change.into(),
            coin_selection_strategy: self.coin_selection_strategy.number(),
            max_fee_ratio: self.max_fee_ratio,
            template: Some(template),
            fees: Some(fees),
            ..Default::default()
        }
    }
}

/// Sign the inputs of a funded PSBT.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
struct Funded {
    /// PSBT (base64)
    #[arg(
        value_name = "FUNDED_PSBT",
        value_parser = base64,
        required_unless_present = "funded_psbt"
    )]
    psbt: Option<Hex>,
    /// PSBT (base64)
    #[arg(long, conflicts_with = "psbt", value_parser = base64)]
    funded_psbt: Option<Hex>,
}

impl Funded {
    fn bytes(self) -> Vec<u8> {
        let psbt = self.funded_psbt.or(self.psbt);
        psbt.map(|psbt| psbt.0).unwrap_or_default()
    }
}

async fn sign(funded: Funded, node: &mut Node) -> Result<(), CliError> {
    let request = SignPsbtRequest {
        funded_psbt: funded.bytes(),
    };
    let signed = node.wallet.sign_psbt(request).await?.into_inner();
    print_json(&json!({
        "psbt": BASE64_STANDARD.encode(&signed.signed_psbt),
        "signed_input_indexes": signed.signed_inputs,
    }))
}

/// Sign a PSBT as the last signer and print the final transaction.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
struct Finalize {
    #[command(flatten)]
    funded: Funded,
    /// Wallet account; the only one is "default"
    #[arg(long, default_value = "")]
    account: String,
}

impl Finalize {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = FinalizePsbtRequest {
            account: self.account,
            funded_psbt: self.funded.bytes(),
        };
        let done = node.wallet.finalize_psbt(request).await?.into_inner();
        print_json(&json!({
            "psbt": BASE64_STANDARD.encode(&done.signed_psbt),
            "final_tx": done.raw_final_tx.to_lower_hex_string(),
        }))
    }
}
