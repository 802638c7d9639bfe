//! ListInvoices, LookupInvoice, SubscribeInvoices.

use lightning_types::payment::PaymentHash;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::invoices::Subscription;
use crate::model::invoice::{HtlcSelection, InvoicePage, InvoiceRef};
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::invoice::invoice;
use crate::rpc::convert::parse::{creation_dates, hash_hex};
use crate::rpc::transport::streams::{Answers, stream};
use lnd_api::proto::lnrpc::{
    self, Invoice, InvoiceSubscription, ListInvoiceRequest, ListInvoiceResponse,
};

/// The number of invoices in a response if the client does not set one (lnd).
const DEFAULT_PAGE: u64 = 100;

/// Lists a page of invoices.
pub(super) fn list(
    context: &Context,
    request: &ListInvoiceRequest,
) -> Result<ListInvoiceResponse, Status> {
    let found = context.invoices.list(&page(request)?)?;
    let index =
        |view: Option<&crate::invoices::InvoiceView>| view.map_or(0, |view| view.record.add_index);
    Ok(ListInvoiceResponse {
        first_index_offset: index(found.first()),
        last_index_offset: index(found.last()),
        invoices: found.iter().map(invoice).collect(),
    })
}

fn page(request: &ListInvoiceRequest) -> Result<InvoicePage, Status> {
    creation_dates(request.creation_date_start, request.creation_date_end)?;
    Ok(InvoicePage {
        index_offset: request.index_offset,
        limit: match request.num_max_invoices {
            0 => DEFAULT_PAGE,
            limit => limit,
        },
        reversed: request.reversed,
        pending_only: request.pending_only,
        created_from: request.creation_date_start,
        created_to: request.creation_date_end,
    })
}

/// Returns an invoice with its HTLCs.
pub(super) fn lookup(context: &Context, request: &lnrpc::PaymentHash) -> Result<Invoice, Status> {
    let by_hash = InvoiceRef::Hash(hash(request)?);
    let found = context.invoices.lookup(&by_hash, HtlcSelection::All)?;
    Ok(invoice(&found))
}

fn hash(request: &lnrpc::PaymentHash) -> Result<PaymentHash, Status> {
    if !request.r_hash_str.is_empty() {
        return hash_hex(&request.r_hash_str).map(PaymentHash);
    }
    let length = request.r_hash.len();
    let hash = request.r_hash.as_slice().try_into();
    hash.map(PaymentHash).map_err(|_| {
        refused(format!(
            "payment hash must be exactly 32 bytes, is instead {length}"
        ))
    })
}

/// Streams invoice events: first those missed since the given indices, then new ones.
pub(super) fn subscribe(
    context: &Context,
    request: &InvoiceSubscription,
) -> Result<Subscription, Status> {
    let events = context
        .invoices
        .subscribe(request.add_index, request.settle_index);
    Ok(events?)
}

/// Forwards the events to the client.
pub(super) fn follow(stop: CancellationToken, mut events: Subscription) -> Answers<Invoice> {
    stream(stop, |writer| async move {
        while let Some(event) = events.next().await? {
            writer.send(invoice(event.view())).await;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_size_defaults_to_lnds_and_has_no_limit() {
        let mut request = ListInvoiceRequest::default();
        assert_eq!(page(&request).unwrap().limit, 100);
        request.num_max_invoices = u64::MAX;
        request.index_offset = u64::MAX;
        assert_eq!(page(&request).unwrap().limit, u64::MAX);
        request.creation_date_start = 2;
        request.creation_date_end = 1;
        assert!(page(&request).is_err());
    }

    #[test]
    fn parses_hash_as_bytes_or_hex() {
        let by_text = lnrpc::PaymentHash {
            r_hash_str: "11".repeat(32),
            ..Default::default()
        };
        let by_bytes = lnrpc::PaymentHash {
            r_hash: vec![0x11; 32],
            ..Default::default()
        };
        assert_eq!(hash(&by_text).unwrap(), PaymentHash([0x11; 32]));
        assert_eq!(hash(&by_bytes).unwrap(), PaymentHash([0x11; 32]));
        let short = lnrpc::PaymentHash {
            r_hash: vec![1, 2],
            ..Default::default()
        };
        assert_eq!(
            hash(&short).unwrap_err().message(),
            "payment hash must be exactly 32 bytes, is instead 2"
        );
    }
}
