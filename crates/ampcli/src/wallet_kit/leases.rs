//! Leased outputs: `leaseoutput`, `releaseoutput`, `listleases`.

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

/// Lease an output, so that the wallet does not spend it until the lease expires.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(super) struct LeaseOutput {
    /// Output to lease (txid:index)
    #[arg(long, value_parser = outpoint)]
    outpoint: OutPoint,
    /// ID of the lease (32 random bytes in hex), which is needed to release it
    #[arg(long, value_parser = hex_32)]
    lockid: Hex,
    /// Duration of the lease (seconds)
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    expiry: u64,
}

impl LeaseOutput {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
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
pub(super) struct ReleaseOutput {
    /// Output to release (txid:index)
    #[arg(
        value_name = "OUTPOINT",
        value_parser = outpoint,
        required_unless_present = "outpoint"
    )]
    output: Option<OutPoint>,
    /// Output to release (txid:index)
    #[arg(long, conflicts_with = "output", value_parser = outpoint)]
    outpoint: Option<OutPoint>,
    /// ID of the lease (32 bytes in hex) [default: that of `wallet psbt fund`]
    #[arg(long, value_parser = hex_32)]
    lockid: Option<Hex>,
}

impl ReleaseOutput {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
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
pub(super) struct ListLeases {}

impl ListLeases {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let found = node.wallet.list_leases(ListLeasesRequest {}).await?;
        print_json(&leases(&found.get_ref().locked_utxos))
    }
}

/// Formats leases as lncli does, with the script in base64.
pub(super) fn leases(leases: &[UtxoLease]) -> Value {
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
