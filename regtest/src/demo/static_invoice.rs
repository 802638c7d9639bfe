//! The second half of the demo: one static invoice paid twice, and the receiver's list of payments.

use anyhow::{Result, ensure};
use lnd_api::proto::ampdrpc::{
    InvoicePayment, InvoiceReference, ListInvoicePaymentsRequest, invoice_reference::Name,
};
use lnd_api::proto::lnrpc::Invoice;
use lnd_api::proto::routerrpc::SendPaymentRequest;

use super::SETTLE_LIMIT;
use crate::api::{Api, bolt11};
use crate::network::Network;

/// The TLV record that carries the payer's message.
const MESSAGE_RECORD: u64 = 34_349_334;
/// Payer, amount (msat) and message.
const PAYMENTS: [(&str, u64, &str); 2] = [
    ("alice", 21_000_000, "for the tea"),
    ("carol", 5_000_000, "and one more"),
];

/// A static invoice and its payments as listed by the receiver.
#[derive(Debug)]
pub struct Tips {
    pub payment_request: String,
    pub payments: Vec<InvoicePayment>,
}

/// Bob publishes one invoice without an amount; Alice and Carol pay it.
///
/// # Errors
/// If Bob's list of payments does not match what was paid.
pub async fn pay_twice(network: &Network) -> Result<Tips> {
    let bob = network["bob"].api()?;
    let before = bob.local_msat().await?;
    let invoice = Invoice {
        is_amp: true,
        memo: "tips".into(),
        ..Default::default()
    };
    let invoice = bob.lightning.clone().add_invoice(invoice).await?;
    let payment_request = invoice.into_inner().payment_request;
    for (payer, msat, message) in PAYMENTS {
        let record = (MESSAGE_RECORD, message.as_bytes().to_vec());
        let request = SendPaymentRequest {
            amt_msat: i64::try_from(msat)?,
            dest_custom_records: [record].into(),
            ..bolt11(&payment_request)
        };
        network.pay(payer, &request).await?;
    }
    network.wait_settled(SETTLE_LIMIT).await?;
    let payments = ledger(&bob, &payment_request).await?;
    let paid = payments.iter().map(|paid| (paid.amt_msat, &*paid.message));
    let expected = PAYMENTS.map(|(_, msat, message)| (msat as i64, message));
    ensure!(
        paid.eq(expected),
        "Bob's payments to the invoice are {payments:?}"
    );
    let sum: u64 = PAYMENTS.iter().map(|(_, msat, _)| msat).sum();
    let after = bob.local_msat().await?;
    ensure!(after == before + sum, "Bob had {before} msat, then {after}");
    Ok(Tips {
        payment_request,
        payments,
    })
}

async fn ledger(node: &Api, invoice: &str) -> Result<Vec<InvoicePayment>> {
    let name = Some(Name::PaymentRequest(invoice.to_owned()));
    let request = ListInvoicePaymentsRequest {
        invoice: Some(InvoiceReference { name }),
        ..Default::default()
    };
    let mut service = node.static_invoices.clone();
    let page = service.list_invoice_payments(request).await?;
    Ok(page.into_inner().payments)
}
