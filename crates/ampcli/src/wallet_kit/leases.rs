//! Coins that are kept for somebody: `leaseoutput`, `releaseoutput`, `listleases`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bitcoin::OutPoint;
use bitcoin::hex::DisplayHex;
use clap::Args;
use serde_json::{Value, json};

use crate::chain_transactions::outpoint as outpoint_text;
use crate::connection::Node;
use crate::error::CliError;
use crate::output::{print, print_json};
use crate::values::{Hex, hex_32, outpoint, wallet_output};
use lnd_api::layout::lnd_lease_id;
use lnd_api::proto::walletrpc::{
    LeaseOutputRequest, ListLeasesRequest, ReleaseOutputRequest, UtxoLease,
};

/// Lease an output so that nothing else spends it.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct LeaseOutput {
    /// The output (txid:index)
    #[arg(long, value_parser = outpoint)]
    outpoint: OutPoint,
    /// 32 bytes in hex, to release it with
    #[arg(long, value_parser = hex_32)]
    lockid: Hex,
    /// Seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    expiry: u64,
}

impl LeaseOutput {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = LeaseOutputRequest {
            id: self.lockid.0,
            outpoint: Some(wallet_output(&self.outpoint)),
            expiration_seconds: self.expiry,
        };
        print(node.wallet.lease_output(request).await?.get_ref())
    }
}

/// Release a leased output.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct ReleaseOutput {
    #[arg(
        value_name = "OUTPOINT",
        value_parser = outpoint,
        required_unless_present = "outpoint"
    )]
    output: Option<OutPoint>,
    /// The output (txid:index)
    #[arg(long, conflicts_with = "output", value_parser = outpoint)]
    outpoint: Option<OutPoint>,
    /// The id with which it was leased; without: that of `psbt fund`
    #[arg(long, value_parser = hex_32)]
    lockid: Option<Hex>,
}

impl ReleaseOutput {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let output = self.outpoint.or(self.output);
        let id = self.lockid.map(|id| id.0);
        let request = ReleaseOutputRequest {
            id: id.unwrap_or_else(|| lnd_lease_id().to_vec()),
            outpoint: output.as_ref().map(wallet_output),
        };
        print(node.wallet.release_output(request).await?.get_ref())
    }
}

/// List leased outputs.
#[derive(Debug, Args)]
pub struct ListLeases {}

impl ListLeases {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let found = node.wallet.list_leases(ListLeasesRequest {}).await?;
        print_json(&leases(&found.get_ref().locked_utxos))
    }
}

/// As lncli prints them: the script is base64 here.
pub fn leases(leases: &[UtxoLease]) -> Value {
    let lease = |lease: &UtxoLease| {
        json!({
            "id": lease.id.to_lower_hex_string(),
            "outpoint": outpoint_text(lease.outpoint.as_ref()),
            "expiration": lease.expiration,
            "pk_script": BASE64_STANDARD.encode(&lease.pk_script),
            "value": lease.value,
        })
    };
    leases.iter().map(lease).collect()
}
