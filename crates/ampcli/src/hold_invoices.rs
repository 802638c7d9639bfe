//! Hold invoices: `addholdinvoice`, `settleinvoice`.

use clap::Args;

use super::connection::Node;
use super::error::CliError;
use super::output::print;
use super::values::{Hex, bare_msat, hex, hex_32, msat, signed};
use lnd_api::proto::invoicesrpc::{AddHoldInvoiceRequest, SettleInvoiceMsg};

/// Add a hold invoice: its payment is held until it is settled with the preimage or canceled.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct AddHoldInvoice {
    /// Payment hash: the SHA-256 hash of the preimage (32 bytes in hex)
    #[arg(value_parser = hex_32)]
    hash: Hex,
    /// Amount (sat, or with a unit: 50000msat); without one, the payer chooses it
    #[arg(id = "value", value_name = "AMT", value_parser = msat)]
    value: Option<u64>,
    /// Description shown to the payer
    #[arg(long, default_value = "")]
    memo: String,
    /// Amount (sat, or with a unit: 50000msat); without one, the payer chooses it
    #[arg(long, conflicts_with = "value", value_parser = msat)]
    amt: Option<u64>,
    /// Amount (msat)
    #[arg(long, conflicts_with_all = ["value", "amt"], value_parser = bare_msat)]
    amt_msat: Option<u64>,
    /// SHA-256 hash of a description that is too long for the memo (hex)
    #[arg(long, value_parser = hex)]
    description_hash: Option<Hex>,
    /// On-chain fallback address for payers without Lightning
    #[arg(long, default_value = "")]
    fallback_addr: String,
    /// Seconds until the invoice expires; 0 means a day
    #[arg(long, default_value_t = 0)]
    expiry: i64,
    /// Final CLTV delta (blocks); 0 means the node's default
    #[arg(long, default_value_t = 0)]
    cltv_expiry_delta: u64,
    /// Include route hints for unannounced channels
    #[arg(long)]
    private: bool,
}

impl AddHoldInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let added = node.invoices.add_hold_invoice(self.request()).await?;
        print(added.get_ref())
    }

    fn request(self) -> AddHoldInvoiceRequest {
        let msat = self.amt_msat.or(self.amt).or(self.value).unwrap_or(0);
        AddHoldInvoiceRequest {
            memo: self.memo,
            hash: self.hash.0,
            value_msat: signed(msat),
            description_hash: self.description_hash.map(|hash| hash.0).unwrap_or_default(),
            expiry: self.expiry,
            fallback_addr: self.fallback_addr,
            cltv_expiry: self.cltv_expiry_delta,
            private: self.private,
            ..Default::default()
        }
    }
}

/// Settle a hold invoice by revealing its preimage.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SettleInvoice {
    /// Preimage (32 bytes in hex)
    #[arg(
        id = "secret",
        value_name = "PREIMAGE",
        value_parser = hex_32,
        required_unless_present = "preimage"
    )]
    secret: Option<Hex>,
    /// Preimage (32 bytes in hex)
    #[arg(long, conflicts_with = "secret", value_parser = hex_32)]
    preimage: Option<Hex>,
}

impl SettleInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let preimage = self.preimage.or(self.secret);
        let request = SettleInvoiceMsg {
            preimage: preimage.map(|preimage| preimage.0).unwrap_or_default(),
        };
        print(node.invoices.settle_invoice(request).await?.get_ref())
    }
}
