//! Hold invoices: accepted, settled, canceled, restored.

mod any_order;

use std::sync::atomic::Ordering;

use lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::invoices::hold::cancel_hold;
use crate::invoices::test_payments::{failed, key};
use crate::invoices::test_registry::{Answer, Fixture, HEIGHT};
use crate::invoices::{InvoiceError, NewInvoice, Purpose};
use crate::model::htlc::{HtlcRecord, HtlcState};
use crate::model::invoice::{InvoiceRecord, InvoiceState};
use crate::storage::invoices::{PutHtlc, PutInvoice};

const PREIMAGE: PaymentPreimage = PaymentPreimage([5; 32]);
/// The first HTLC expires 100 blocks after [`HEIGHT`].
const DEADLINE: u32 = 100 - 39;

fn hash() -> PaymentHash {
    PREIMAGE.into()
}

fn claimed() -> Vec<Answer> {
    vec![Answer::Claim(PREIMAGE.into())]
}

/// A registry with a hold invoice of 100 msat.
async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let new = NewInvoice {
        purpose: Purpose::Hold { hash: hash() },
        value_msat: 100,
        cltv_delta: 42,
        ..NewInvoice::default()
    };
    fixture.registry.add(new).await.unwrap();
    fixture
}

/// The same, paid by two HTLCs.
async fn accepted() -> Fixture {
    let fixture = fixture().await;
    assert_eq!(fixture.pay(hash(), &[1, 2], 120), [], "held");
    fixture
}

async fn settle(fixture: &Fixture) -> Result<Vec<Answer>, String> {
    let settled = fixture.registry.settle_hold(PREIMAGE).await;
    settled.map_err(|error| error.to_string())?;
    Ok(fixture.port.answers())
}

fn cancel(fixture: &Fixture) -> Vec<Answer> {
    let invoice = stored(fixture);
    let mut state = fixture.registry.state();
    let canceled = cancel_hold(&mut state, invoice);
    fixture.registry.carry_out(&mut state, canceled);
    drop(state);
    fixture.port.answers()
}

fn stored(fixture: &Fixture) -> InvoiceRecord {
    fixture.store.flush();
    fixture.store.invoice_by_hash(&hash()).unwrap().unwrap()
}

fn htlcs(fixture: &Fixture) -> Vec<HtlcRecord> {
    fixture.store.flush();
    fixture.store.htlcs_of_invoice(1).unwrap()
}

fn states(fixture: &Fixture) -> (InvoiceState, Vec<HtlcState>) {
    let htlcs = htlcs(fixture).iter().map(|row| row.state).collect();
    (stored(fixture).state, htlcs)
}

fn at(fixture: &Fixture, blocks: u32) {
    fixture.port.blocks.store(blocks, Ordering::Relaxed);
}

const ACCEPTED: (InvoiceState, HtlcState) = (InvoiceState::Accepted, HtlcState::Accepted);
const SETTLED: (InvoiceState, HtlcState) = (InvoiceState::Settled, HtlcState::Settled);
const CANCELED: (InvoiceState, HtlcState) = (InvoiceState::Canceled, HtlcState::Canceled);

#[track_caller]
fn assert_all(fixture: &Fixture, (invoice, htlc): (InvoiceState, HtlcState)) {
    assert_eq!(states(fixture), (invoice, vec![htlc; 2]));
}

#[tokio::test]
async fn holds_a_payment_until_the_preimage_is_revealed() {
    let fixture = accepted().await;
    assert_all(&fixture, ACCEPTED);
    let invoice = stored(&fixture);
    assert_eq!((invoice.amt_paid_msat, invoice.preimage), (120, None));
    assert_eq!(invoice.settle_index, None);

    assert_eq!(settle(&fixture).await, Ok(claimed()));
    assert_all(&fixture, SETTLED);
    let invoice = stored(&fixture);
    assert_eq!(
        (invoice.amt_paid_msat, invoice.preimage),
        (120, Some(PREIMAGE))
    );
    assert_eq!(invoice.settle_index, Some(1));
    assert!(
        htlcs(&fixture)
            .iter()
            .all(|row| row.preimage == Some(PREIMAGE))
    );
}

#[tokio::test]
async fn startup_fails_htlcs_of_invoices_that_are_not_accepted() {
    let fixture = accepted().await;
    let mut invoice = stored(&fixture);
    invoice.state = InvoiceState::Canceled;
    fixture.store.submit(PutInvoice(invoice));
    let fixture = fixture.restart();
    let answers = fixture.port.answers();
    assert_eq!(answers, [Answer::Fail(PREIMAGE.into()); 2]);
    assert_all(&fixture, CANCELED);
}

#[tokio::test]
async fn invalid_payments_leave_the_invoice_open() {
    let fixture = fixture().await;
    assert_eq!(fixture.pay(hash(), &[1], 99), failed(hash()), "underpaid");
    at(&fixture, DEADLINE - 1);
    assert_eq!(fixture.pay(hash(), &[2], 100), failed(hash()), "too late");
    assert_eq!(states(&fixture), (InvoiceState::Open, vec![]));
}

#[tokio::test]
async fn replayed_payments_stay_held() {
    let fixture = accepted().await;
    assert_eq!(fixture.tell(hash(), 120), []);
    let fixture = fixture.restart();
    assert_eq!(fixture.tell(hash(), 120), []);
    assert_eq!(settle(&fixture).await, Ok(claimed()));
    assert_eq!(fixture.tell(hash(), 120), claimed(), "replayed");
}

#[tokio::test]
async fn settled_htlcs_are_claimed_at_startup_until_ldk_confirms() {
    let fixture = accepted().await;
    settle(&fixture).await.unwrap();
    let fixture = fixture.restart();
    assert_eq!(
        fixture.port.answers(),
        [claimed(), claimed()].concat(),
        "must be claimed once per row"
    );
    fixture.registry.payment_claimed(&PREIMAGE.into());
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), []);
}

#[tokio::test]
async fn settle_errors_match_lnd() {
    let text = |error: Result<Vec<Answer>, String>| error.unwrap_err();
    let empty = Fixture::new();
    assert_eq!(text(settle(&empty).await), "unable to locate invoice");
    let fixture = fixture().await;
    assert_eq!(text(settle(&fixture).await), "invoice still open");
    fixture.pay(hash(), &[1], 100);
    settle(&fixture).await.unwrap();
    assert_eq!(text(settle(&fixture).await), "invoice already settled");
    let fixture = accepted().await;
    cancel(&fixture);
    assert_eq!(text(settle(&fixture).await), "invoice already canceled");
    assert_eq!(fixture.port.answers(), [], "nothing must be claimed");
}

#[tokio::test]
async fn canceling_fails_the_payment() {
    let fixture = accepted().await;
    assert_eq!(cancel(&fixture), failed(hash()));
    assert_all(&fixture, CANCELED);
    assert_eq!(stored(&fixture).amt_paid_msat, 0);
    assert_eq!(
        fixture.pay(hash(), &[3], 100),
        failed(hash()),
        "a later payment"
    );
}

#[tokio::test]
async fn open_hold_invoices_can_be_canceled() {
    let fixture = fixture().await;
    // LDK may have collected some parts of a payment to it.
    assert_eq!(cancel(&fixture), failed(hash()));
    assert_eq!(fixture.pay(hash(), &[1], 100), failed(hash()));
    assert_eq!(states(&fixture), (InvoiceState::Canceled, vec![]));
}

#[tokio::test]
async fn rejects_settling_near_the_claim_deadline() {
    let fixture = accepted().await;
    at(&fixture, DEADLINE - 1);
    let late = fixture.registry.settle_hold(PREIMAGE).await.unwrap_err();
    let expected = (HEIGHT + DEADLINE, HEIGHT + DEADLINE - 1);
    assert!(
        matches!(late, InvoiceError::ClaimDeadline { deadline, height }
            if (deadline, height) == expected),
        "{late}"
    );
    assert_eq!(fixture.port.answers(), []);
    assert_all(&fixture, ACCEPTED);
    at(&fixture, DEADLINE - 2);
    assert_eq!(settle(&fixture).await, Ok(claimed()));
}

#[tokio::test]
async fn payments_failed_at_the_claim_deadline_are_canceled() {
    let fixture = accepted().await;
    at(&fixture, DEADLINE);
    fixture.registry.htlc_gone(&PREIMAGE.into());
    // LDK fails each part at its own deadline; the others are failed now.
    assert_eq!(fixture.port.answers(), failed(hash()));
    assert_all(&fixture, CANCELED);
}

/// A node that forwarded the payment knows its hash and can send another HTLC with it.
#[tokio::test]
async fn rejected_second_htlc_does_not_affect_the_payment() {
    let fixture = accepted().await;
    fixture.registry.htlc_gone(&PREIMAGE.into());
    assert_eq!(fixture.port.answers(), []);
    assert_all(&fixture, ACCEPTED);
}

#[tokio::test]
async fn second_payment_with_the_same_hash_cancels_the_first() {
    let fixture = accepted().await;
    let answers = fixture.pay(hash(), &[3], 120);
    assert_eq!(answers, [failed(hash()), failed(hash())].concat());
    assert_all(&fixture, CANCELED);
}

#[tokio::test]
async fn restart_cancels_payments_with_missing_parts() {
    let fixture = accepted().await;
    fixture.port.forget(key(2));
    let fixture = fixture.restart();
    assert_eq!(
        fixture.port.answers(),
        failed(hash()),
        "the other part must be failed"
    );
    assert_all(&fixture, CANCELED);
}

#[tokio::test]
async fn accepted_payments_survive_channel_closure() {
    let fixture = accepted().await;
    fixture.port.forget(key(1));
    fixture.port.forget(key(2));
    fixture.port.channels_closed.store(true, Ordering::Relaxed);
    let fixture = fixture.restart();
    assert_all(&fixture, ACCEPTED);
    assert_eq!(
        settle(&fixture).await,
        Ok(claimed()),
        "must be claimed on chain"
    );

    let fixture = accepted().await;
    fixture.port.channels_closed.store(true, Ordering::Relaxed);
    at(&fixture, DEADLINE);
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), failed(hash()), "too late");
    assert_all(&fixture, CANCELED);
}

/// The row was on disk, and the node stopped before LDK was told.
#[tokio::test]
async fn startup_fails_canceled_htlcs_that_ldk_still_holds() {
    let fixture = accepted().await;
    cancel(&fixture);
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), failed(hash()));
    fixture.port.forget(key(1));
    fixture.port.forget(key(2));
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), []);
}

#[tokio::test]
async fn accepted_invoices_do_not_expire() {
    let fixture = accepted().await;
    let expired = InvoiceRecord {
        expires_at: Some(0),
        ..stored(&fixture)
    };
    let rows = htlcs(&fixture);
    let other = Fixture::new();
    other.store.submit(PutInvoice(expired));
    for row in rows {
        other.store.submit(PutHtlc(row));
    }
    other.bring(hash(), &[1, 2], 120);
    let other = other.restart();
    assert_eq!(other.tell(hash(), 120), [], "replayed");
    assert_eq!(settle(&other).await, Ok(claimed()));
}
