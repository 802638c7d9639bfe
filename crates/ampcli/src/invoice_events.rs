//! Invoice subscriptions: `subscribeinvoices`, `subscribeinvoice`. lncli has neither.

use clap::Args;
use tonic::Streaming;

use super::connection::Node;
use super::error::CliError;
use super::output::print;
use super::values::{Hex, hex_32};
use lnd_api::proto::invoicesrpc::lookup_invoice_msg::InvoiceRef;
use lnd_api::proto::invoicesrpc::{
    LookupInvoiceMsg, LookupModifier, SubscribeSingleInvoiceRequest,
};
use lnd_api::proto::lnrpc::{Invoice, InvoiceSubscription};

/// Subscribe to invoices: print each one that is added or settled from now on as JSON.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SubscribeInvoices {
    /// First print past invoices added after this add_index; 0 means none
    #[arg(long, default_value_t = 0)]
    add_index: u64,
    /// First print past invoices settled after this settle_index; 0 means none
    #[arg(long, default_value_t = 0)]
    settle_index: u64,
}

impl SubscribeInvoices {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = InvoiceSubscription {
            add_index: self.add_index,
            settle_index: self.settle_index,
        };
        let events = node.lightning.subscribe_invoices(request).await?;
        print_all(events.into_inner()).await
    }
}

/// Subscribe to one invoice: print it as JSON, now and after each change, until its state is final.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SubscribeInvoice {
    /// Payment hash (32 bytes in hex)
    #[arg(value_parser = hex_32)]
    hash: Hex,
}

impl SubscribeInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let r_hash = self.hash.0;
        // The node waits until an unknown invoice is added; here the hash is more likely a typo.
        let known = LookupInvoiceMsg {
            invoice_ref: Some(InvoiceRef::PaymentHash(r_hash.clone())),
            lookup_modifier: LookupModifier::HtlcSetBlank.into(),
        };
        node.invoices.lookup_invoice_v2(known).await?;
        let request = SubscribeSingleInvoiceRequest { r_hash };
        let changes = node.invoices.subscribe_single_invoice(request).await?;
        print_all(changes.into_inner()).await
    }
}

async fn print_all(mut invoices: Streaming<Invoice>) -> Result<(), CliError> {
    while let Some(invoice) = invoices.message().await? {
        print(&invoice)?;
    }
    Ok(())
}
