//! Invoice events since an index, which must be the same from both nodes.

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::invoicesrpc::AddHoldInvoiceRequest;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::{Invoice, InvoiceSubscription, PaymentHash};
use regtest::api::{Api, bolt11};
use regtest::wait::wait_for;
use tokio::task::JoinHandle;

use super::events::next;
use crate::SETTLE_LIMIT;
use crate::scene::{Scene, amp};

/// An invoice event: its number in this scenario, its state, whether it has a settle index, the amount
/// paid in msat, its HTLCs, and its settled sets.
type Told = (u64, InvoiceState, bool, i64, usize, usize);

const MSAT: i64 = 10_000;

/// Creates invoices with every final state, and subscribes with each index and with both.
pub(super) async fn of_invoices_with_every_final_state(scene: Scene<'_>) -> Result<Vec<Vec<Told>>> {
    let payee = scene.payee()?;
    // Events are only replayed after a known index, so this invoice provides one.
    let settled_before = payee.invoice(1_000).await?;
    scene.pays(&bolt11(&settled_before.payment_request)).await?;
    let last_settled = scene.lookup(&settled_before).await?.settle_index;
    let known = payee.invoice(1_000).await?.add_index;

    let paid = payee.invoice(10_000).await?;
    scene.pays(&bolt11(&paid.payment_request)).await?;
    let held = hold(scene, &payee, [known as u8; 32]).await?;
    let canceled = payee.invoice(10_000).await?;
    cancel(&payee, canceled.r_hash).await?;
    let donations = scene.amp_invoice(0).await?;
    for _ in 0..2 {
        scene.payer()?.pay(amp(&donations, MSAT)).await?;
    }
    payee.invoice(10_000).await?;

    let mut responses = Vec::new();
    for (add_index, settle_index, events) in [
        (known, 0, 3),
        (0, last_settled, 3),
        (known, last_settled, 6),
    ] {
        let request = InvoiceSubscription {
            add_index,
            settle_index,
        };
        let mut stream = payee
            .lightning
            .clone()
            .subscribe_invoices(request)
            .await?
            .into_inner();
        let mut received = Vec::new();
        for number in 0..events {
            let event = next(&mut stream).await;
            let event = event.with_context(|| format!("event {number} of {request:?}"))?;
            received.push(short(&event, known));
        }
        responses.push(received);
    }
    cancel(&payee, held.hash).await?;
    held.payer.await?;
    Ok(responses)
}

fn short(event: &Invoice, known: u64) -> Told {
    let sets = event.amp_invoice_state.values();
    (
        event.add_index - known,
        event.state(),
        event.settle_index > 0,
        event.amt_paid_msat,
        event.htlcs.len(),
        sets.filter(|set| set.settle_index > 0).count(),
    )
}

struct Held {
    hash: Vec<u8>,
    payer: JoinHandle<()>,
}

/// A hold invoice that is paid but not settled.
async fn hold(scene: Scene<'_>, payee: &Api, preimage: [u8; 32]) -> Result<Held> {
    let hash = sha256::Hash::hash(&preimage).to_byte_array().to_vec();
    let request = AddHoldInvoiceRequest {
        hash: hash.clone(),
        value_msat: MSAT,
        ..Default::default()
    };
    let made = payee.invoices.clone().add_hold_invoice(request).await?;
    let request = bolt11(&made.into_inner().payment_request);
    let payer = scene.payer()?;
    let payer = tokio::spawn(async move {
        // It fails when the invoice is canceled.
        let _ = payer.pay(request).await;
    });
    wait_for("a hold invoice to be accepted", SETTLE_LIMIT, async || {
        let by = PaymentHash {
            r_hash: hash.clone(),
            ..Default::default()
        };
        let found = payee.lightning.clone().lookup_invoice(by).await?;
        let state = found.into_inner().state();
        ensure!(state == InvoiceState::Accepted, "the state is {state:?}");
        Ok(())
    })
    .await?;
    Ok(Held { hash, payer })
}

async fn cancel(payee: &Api, payment_hash: Vec<u8>) -> Result<()> {
    let request = lnd_api::proto::invoicesrpc::CancelInvoiceMsg { payment_hash };
    payee.invoices.clone().cancel_invoice(request).await?;
    Ok(())
}
