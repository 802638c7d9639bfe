//! Subscriptions to invoices, and paginated lists of invoices and payments.

use std::time::Duration;

use anyhow::{Context, Result};
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::{
    Invoice, InvoiceSubscription, ListInvoiceRequest, ListPaymentsRequest,
};
use regtest::api::{Api, amp_to, bolt11};
use regtest::network::{ChannelPlan, Network};
use tokio::time::timeout;
use tonic::Streaming;

use crate::binaries;

const AMOUNT_MSAT: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn invoices_are_streamed_and_lists_are_paginated() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    network
        .open(&[ChannelPlan::new("alice", "bob", 1_000_000)])
        .await?;
    subscribers_get_added_and_settled_invoices(&network).await?;
    for _ in 0..4 {
        let invoice = network["bob"].api()?.invoice(AMOUNT_MSAT).await?;
        let request = bolt11(&invoice.payment_request);
        network.pay("alice", &request).await?;
    }
    invoices_are_paginated(&network["bob"].api()?).await?;
    payments_are_paginated(&network["alice"].api()?).await?;
    network.finish();
    Ok(())
}

async fn subscribers_get_added_and_settled_invoices(network: &Network) -> Result<()> {
    let bob = network["bob"].api()?;
    let mut updates = subscribe(&bob, InvoiceSubscription::default()).await?;
    let added = bob.invoice(AMOUNT_MSAT).await?;
    let heard = next(&mut updates).await?;
    assert_eq!(heard.payment_request, added.payment_request);
    assert_eq!(heard.state(), InvoiceState::Open);
    assert_eq!(heard.add_index, added.add_index);

    network
        .pay("alice", &bolt11(&added.payment_request))
        .await?;
    let settled = next(&mut updates).await?;
    assert_eq!(settled.r_hash, added.r_hash);
    assert_eq!(settled.state(), InvoiceState::Settled);
    assert_eq!(settled.amt_paid_msat, i64::try_from(AMOUNT_MSAT)?);
    assert!(settled.settle_index > 0);

    // A payment to the public key creates an invoice.
    let spontaneous = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    let payment = network.pay("alice", &spontaneous).await?;
    let mut heard = next(&mut updates).await?;
    if heard.state() != InvoiceState::Settled {
        heard = next(&mut updates).await?;
    }
    assert_eq!(heard.state(), InvoiceState::Settled);
    assert!(heard.is_amp && heard.amt_paid_msat == i64::try_from(AMOUNT_MSAT)?);
    assert!(heard.amp_invoice_state.contains_key(&payment.payment_hash));

    // A returning subscriber gets everything settled in the meantime.
    let since = InvoiceSubscription {
        settle_index: settled.settle_index,
        ..Default::default()
    };
    let missed = next(&mut subscribe(&bob, since).await?).await?;
    // An AMP invoice can be settled repeatedly: as in lnd, each set has its own settle index.
    let set = missed.amp_invoice_state.get(&payment.payment_hash);
    let set = set.context("the missed settlement has another set id")?;
    assert_eq!(set.settle_index, settled.settle_index + 1);
    Ok(())
}

async fn subscribe(api: &Api, request: InvoiceSubscription) -> Result<Streaming<Invoice>> {
    let mut lightning = api.lightning.clone();
    Ok(lightning.subscribe_invoices(request).await?.into_inner())
}

async fn next(updates: &mut Streaming<Invoice>) -> Result<Invoice> {
    let update = timeout(LIMIT, updates.message()).await;
    update
        .context("timed out waiting for an update")??
        .context("the stream has ended")
}

async fn invoices_are_paginated(bob: &Api) -> Result<()> {
    let all = indices_of(&bob.invoices(0).await?.invoices);
    assert_eq!(all.len(), 6);
    let (mut offset, mut seen) = (0, Vec::new());
    loop {
        let page = invoice_page(bob, offset, false).await?;
        if page.0.is_empty() {
            break;
        }
        assert!(page.0.len() <= 2);
        seen.extend(page.0);
        offset = page.2;
    }
    assert_eq!(seen, all);

    // Backwards from the newest; as in lnd, each page is sorted with the oldest first.
    let last = invoice_page(bob, 0, true).await?;
    assert_eq!(last.0, all[4..]);
    let before = invoice_page(bob, last.1, true).await?;
    assert_eq!(before.0, all[2..4]);
    Ok(())
}

/// A page of two invoices with its first and last offset.
async fn invoice_page(api: &Api, offset: u64, reversed: bool) -> Result<(Vec<u64>, u64, u64)> {
    let request = ListInvoiceRequest {
        index_offset: offset,
        num_max_invoices: 2,
        reversed,
        ..Default::default()
    };
    let page = api.lightning.clone().list_invoices(request).await?;
    let page = page.into_inner();
    let indices = indices_of(&page.invoices);
    Ok((indices, page.first_index_offset, page.last_index_offset))
}

fn indices_of(invoices: &[Invoice]) -> Vec<u64> {
    invoices.iter().map(|invoice| invoice.add_index).collect()
}

async fn payments_are_paginated(alice: &Api) -> Result<()> {
    let all = alice.payments(0).await?.payments;
    let all: Vec<u64> = all.iter().map(|payment| payment.payment_index).collect();
    assert_eq!(all.len(), 6);
    let first = payment_page(alice, 0, false).await?;
    assert_eq!(first.0, all[..2]);
    let second = payment_page(alice, first.2, false).await?;
    assert_eq!(second.0, all[2..4]);
    let last = payment_page(alice, 0, true).await?;
    assert_eq!(last.0, all[4..]);
    let before = payment_page(alice, last.1, true).await?;
    assert_eq!(before.0, all[2..4]);
    Ok(())
}

/// A page of two payments with its first and last offset.
async fn payment_page(api: &Api, offset: u64, reversed: bool) -> Result<(Vec<u64>, u64, u64)> {
    let request = ListPaymentsRequest {
        index_offset: offset,
        max_payments: 2,
        reversed,
        count_total_payments: true,
        ..Default::default()
    };
    let page = api.lightning.clone().list_payments(request).await?;
    let page = page.into_inner();
    assert_eq!(page.total_num_payments, 6);
    let indices = page.payments.iter().map(|payment| payment.payment_index);
    Ok((
        indices.collect(),
        page.first_index_offset,
        page.last_index_offset,
    ))
}
