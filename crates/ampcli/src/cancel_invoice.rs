//! Canceling and deleting invoices: `cancelinvoice`, `deletecanceledinvoice`.

use bitcoin::hex::DisplayHex;
use clap::Args;

use super::connection::Node;
use super::error::CliError;
use super::output::print;
use super::values::{Hex, hex_32};
use lnd_api::proto::invoicesrpc::CancelInvoiceMsg;
use lnd_api::proto::lnrpc::DelCanceledInvoiceReq;

/// Cancel an invoice: it is no longer payable, and its held HTLCs are failed back.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct CancelInvoice {
    /// Payment hash (32 bytes in hex)
    #[arg(
        value_name = "PAYMENTHASH",
        value_parser = hex_32,
        required_unless_present = "paymenthash"
    )]
    hash: Option<Hex>,
    /// Payment hash (32 bytes in hex)
    #[arg(long, conflicts_with = "hash", value_parser = hex_32)]
    paymenthash: Option<Hex>,
}

impl CancelInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let hash = self.paymenthash.or(self.hash);
        let request = CancelInvoiceMsg {
            payment_hash: hash.map(|hash| hash.0).unwrap_or_default(),
        };
        print(node.invoices.cancel_invoice(request).await?.get_ref())
    }
}

/// Delete a canceled invoice.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct DeleteCanceledInvoice {
    /// Payment hash (32 bytes in hex)
    #[arg(
        value_name = "INVOICE_HASH",
        value_parser = hex_32,
        required_unless_present = "invoice_hash"
    )]
    hash: Option<Hex>,
    /// Payment hash (32 bytes in hex)
    #[arg(long, conflicts_with = "hash", value_parser = hex_32)]
    invoice_hash: Option<Hex>,
}

impl DeleteCanceledInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let hash = self.invoice_hash.or(self.hash);
        let request = DelCanceledInvoiceReq {
            invoice_hash: hash
                .map(|hash| hash.0.to_lower_hex_string())
                .unwrap_or_default(),
        };
        let deleted = node.lightning.delete_canceled_invoice(request).await?;
        print(deleted.get_ref())
    }
}
