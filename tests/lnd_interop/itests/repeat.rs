//! A static invoice paid twice: what the payee reports of each payment and of both.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::invoicesrpc::lookup_invoice_msg::InvoiceRef;
use lnd_api::proto::invoicesrpc::{
    LookupInvoiceMsg, LookupModifier, SubscribeSingleInvoiceRequest,
};
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::{AmpInvoiceState, Invoice, InvoiceHtlcState};
use regtest::api::bytes;
use regtest::node::Software;
use tonic::Streaming;

use super::events::{Events, next};
use crate::scene::{Scene, amp};

const MSAT: i64 = 10_000_000;

pub(super) async fn an_invoice_twice(scene: Scene<'_>) -> Result<()> {
    let payee = scene.payee()?;
    let mut events = Events::follow(&payee).await?;
    let invoice = scene.amp_invoice(MSAT).await?;
    let created = events.opened(&invoice.payment_addr).await?.creation_date;
    let single = SubscribeSingleInvoiceRequest {
        r_hash: invoice.r_hash.clone(),
    };
    let mut invoices = payee.invoices.clone();
    let mut single = invoices
        .subscribe_single_invoice(single)
        .await?
        .into_inner();
    assert_eq!(next(&mut single).await?.state(), InvoiceState::Open);
    let (mut sets, mut settlements) = (Vec::new(), Vec::new());
    for times in 1..=2 {
        let payment = scene.pays(&amp(&invoice, 0)).await?;
        settlements.push(events.settled().await?);
        let set = only_set(&settlements[settlements.len() - 1], &payment.payment_hash)?;
        assert_eq!(
            settlements[settlements.len() - 1].amt_paid_msat,
            times * MSAT
        );
        ensure!(
            set.settle_time >= created,
            "the set was settled before the invoice was created"
        );
        sets.push((bytes(&payment.payment_hash)?, set.settle_index));
    }
    assert_eq!(sets[1].1, sets[0].1 + 1, "settle indices");
    of_single_invoice(scene, &mut single).await?;

    for (set_id, _) in &sets {
        let by = InvoiceRef::SetId(set_id.clone());
        let found = look_up(scene, by, LookupModifier::HtlcSetOnly).await?;
        assert_eq!(found.htlcs.len(), 1);
    }
    let by = InvoiceRef::PaymentAddr(invoice.payment_addr);
    let blank = look_up(scene, by.clone(), LookupModifier::HtlcSetBlank).await?;
    assert_eq!((blank.htlcs.len(), blank.amp_invoice_state.len()), (0, 2));
    let all = look_up(scene, by, LookupModifier::Default).await?;
    assert_eq!((all.htlcs.len(), all.amp_invoice_state.len()), (2, 2));

    let mut again = Events::settled_after(&payee, sets[0].1).await?;
    assert_eq!(again.settled().await?, settlements[1]);
    Ok(())
}

/// An event contains only the set that it is about.
fn only_set(update: &Invoice, set_id: &str) -> Result<AmpInvoiceState> {
    assert_eq!((update.htlcs.len(), update.amp_invoice_state.len()), (1, 1));
    let set = update.amp_invoice_state.get(set_id);
    let set = set.context("the event has a different set")?;
    assert_eq!(set.state(), InvoiceHtlcState::Settled);
    Ok(*set)
}

/// Subscribers to a single invoice of ampd see each set. lnd publishes sets under the hashes of their
/// shards, so its subscribers see nothing.
async fn of_single_invoice(scene: Scene<'_>, single: &mut Streaming<Invoice>) -> Result<()> {
    if scene.payee_is(Software::Lnd) {
        let update = tokio::time::timeout(Duration::from_secs(1), single.message()).await;
        ensure!(update.is_err(), "lnd sent {update:?}");
        return Ok(());
    }
    for _ in 1..=2 {
        let update = next(single).await?;
        assert_eq!(update.state(), InvoiceState::Settled);
    }
    Ok(())
}

async fn look_up(scene: Scene<'_>, by: InvoiceRef, modifier: LookupModifier) -> Result<Invoice> {
    let request = LookupInvoiceMsg {
        invoice_ref: Some(by),
        lookup_modifier: modifier.into(),
    };
    let found = scene.payee()?.invoices.lookup_invoice_v2(request).await?;
    Ok(found.into_inner())
}
