//! Reading invoices: `lookupinvoice`, `listinvoices`.

use clap::{ArgGroup, Args};

use super::connection::Node;
use super::error::CliError;
use super::output::print;
use super::values::{Hex, hex_32};
use lnd_api::proto::invoicesrpc::lookup_invoice_msg::InvoiceRef;
use lnd_api::proto::invoicesrpc::{LookupInvoiceMsg, LookupModifier};
use lnd_api::proto::lnrpc::{ListInvoiceRequest, PaymentHash};

/// Look up an invoice by payment hash, payment address or set_id.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
#[command(group = ArgGroup::new("name").required(true))]
#[command(group = ArgGroup::new("htlcs"))]
pub(crate) struct LookupInvoice {
    /// Payment hash (32 bytes in hex)
    #[arg(value_name = "RHASH", value_parser = hex_32, group = "name")]
    hash: Option<Hex>,
    /// Payment hash (32 bytes in hex)
    #[arg(long, value_parser = hex_32, group = "name")]
    rhash: Option<Hex>,
    /// Payment address (32 bytes in hex)
    #[arg(long, value_parser = hex_32, group = "name")]
    payment_addr: Option<Hex>,
    /// set_id of a payment to an AMP invoice (32 bytes in hex)
    #[arg(long, value_parser = hex_32, group = "name")]
    set_id: Option<Hex>,
    /// Show only the HTLCs and the state of this set
    #[arg(long, group = "htlcs", conflicts_with_all = ["hash", "rhash", "payment_addr"])]
    set_only: bool,
    /// Omit the HTLCs; the sets of an AMP invoice are still listed
    #[arg(long, group = "htlcs")]
    blank: bool,
}

impl LookupInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let invoice = match self.request() {
            Request::V1(request) => node.lightning.lookup_invoice(request).await?,
            Request::V2(request) => node.invoices.lookup_invoice_v2(request).await?,
        };
        print(invoice.get_ref())
    }

    fn request(self) -> Request {
        let modifier = match (self.set_only, self.blank) {
            (true, _) => LookupModifier::HtlcSetOnly,
            (_, true) => LookupModifier::HtlcSetBlank,
            _ => LookupModifier::Default,
        };
        let hash = self.rhash.or(self.hash).map(|hash| hash.0);
        let name = match (hash, self.payment_addr, self.set_id) {
            (_, Some(addr), _) => InvoiceRef::PaymentAddr(addr.0),
            (_, _, Some(set_id)) => InvoiceRef::SetId(set_id.0),
            (hash, None, None) => InvoiceRef::PaymentHash(hash.unwrap_or_default()),
        };
        match (name, modifier) {
            (InvoiceRef::PaymentHash(r_hash), LookupModifier::Default) => {
                Request::V1(PaymentHash {
                    r_hash,
                    ..Default::default()
                })
            }
            (name, modifier) => Request::V2(LookupInvoiceMsg {
                invoice_ref: Some(name),
                lookup_modifier: modifier.into(),
            }),
        }
    }
}

/// A request of LookupInvoice, which lncli uses, or of LookupInvoiceV2.
#[derive(Debug)]
enum Request {
    V1(PaymentHash),
    V2(LookupInvoiceMsg),
}

/// List invoices, by default the last 100.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ListInvoices {
    /// List only pending invoices
    #[arg(long)]
    pending_only: bool,
    /// add_index before which (with --paginate_forwards: after which) the list starts
    #[arg(long, default_value_t = 0)]
    index_offset: u64,
    /// Maximum number of invoices
    #[arg(long, default_value_t = 100)]
    max_invoices: u64,
    /// List from oldest to newest
    #[arg(long)]
    paginate_forwards: bool,
    /// Earliest creation time (seconds since 1970)
    #[arg(long, default_value_t = 0)]
    creation_date_start: u64,
    /// Latest creation time (seconds since 1970); 0 means no limit
    #[arg(long, default_value_t = 0)]
    creation_date_end: u64,
}

impl ListInvoices {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = ListInvoiceRequest {
            pending_only: self.pending_only,
            index_offset: self.index_offset,
            num_max_invoices: self.max_invoices,
            reversed: !self.paginate_forwards,
            creation_date_start: self.creation_date_start,
            creation_date_end: self.creation_date_end,
        };
        print(node.lightning.list_invoices(request).await?.get_ref())
    }
}
