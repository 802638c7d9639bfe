//! Static invoices at both ends: the receiver lists each successful payment exactly once, and
//! nothing else.

use anyhow::{Result, ensure};
use lnd_api::proto::ampdrpc::invoice_reference::Name;
use lnd_api::proto::ampdrpc::{InvoicePayment, InvoiceReference, ListInvoicePaymentsRequest};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Invoice, Payment};

use crate::api::{Api, bytes};

/// Maximum page size; crash rounds make far fewer payments to one invoice.
const WHOLE_LEDGER: u64 = 10_000;

/// A payment as seen at either end: its set id and amount in msat.
type Entry = (Vec<u8>, i64);

/// Compares the payments listed for a receiver's static invoices with the payments of all senders.
///
/// # Errors
/// Names an invoice on which the two ends disagree.
pub(super) async fn compare(
    receiver: &Api,
    invoices: &[Invoice],
    payments: &[Payment],
) -> Result<()> {
    let is_static = |invoice: &&Invoice| invoice.is_amp && !invoice.payment_request.is_empty();
    for invoice in invoices.iter().filter(is_static) {
        let received = entries(&ledger(receiver, &invoice.payment_request).await?);
        let sent = sent_to(&invoice.payment_request, payments)?;
        ensure!(
            received == sent,
            "{} lists {} payments, but its payers made {}: {received:?} received, {sent:?} sent",
            invoice.payment_request,
            received.len(),
            sent.len(),
        );
    }
    Ok(())
}

async fn ledger(receiver: &Api, payment_request: &str) -> Result<Vec<InvoicePayment>> {
    let name = Some(Name::PaymentRequest(payment_request.to_owned()));
    let request = ListInvoicePaymentsRequest {
        invoice: Some(InvoiceReference { name }),
        num_max_payments: WHOLE_LEDGER,
        ..Default::default()
    };
    let mut service = receiver.static_invoices.clone();
    let page = service.list_invoice_payments(request).await?;
    Ok(page.into_inner().payments)
}

fn entries(payments: &[InvoicePayment]) -> Vec<Entry> {
    let entry = |paid: &InvoicePayment| (paid.set_id.clone(), paid.amt_msat);
    let mut entries: Vec<_> = payments.iter().map(entry).collect();
    entries.sort();
    entries
}

fn sent_to(payment_request: &str, payments: &[Payment]) -> Result<Vec<Entry>> {
    let succeeded = payments.iter().filter(|payment| {
        payment.payment_request == payment_request && payment.status() == PaymentStatus::Succeeded
    });
    let entry = |payment: &Payment| Ok((bytes(&payment.payment_hash)?, payment.value_msat));
    let mut entries = succeeded.map(entry).collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}
