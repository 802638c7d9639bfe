mod any_order;

use std::sync::atomic::Ordering;

use crate::invoices::test_payments::{failed, key};
use crate::invoices::test_room::{Answer, HEIGHT, Room, hash_of};
use crate::invoices::{InvoiceError, NewInvoice, Purpose};
use crate::storage::invoices::{HtlcRecord, HtlcState, InvoiceRecord, InvoiceState};
use crate::storage::invoices::{PutHtlc, PutInvoice};

const PREIMAGE: [u8; 32] = [5; 32];
/// The first HTLC expires 100 blocks after [`HEIGHT`].
const DEADLINE: u32 = 100 - 39;

fn hash() -> [u8; 32] {
    hash_of(&PREIMAGE).0
}

fn claimed() -> Vec<Answer> {
    vec![Answer::Claim(hash_of(&PREIMAGE))]
}

/// A registry with a hold invoice of 100 msat.
async fn room() -> Room {
    let room = Room::new();
    let new = NewInvoice {
        purpose: Purpose::Hold { hash: hash() },
        value_msat: 100,
        cltv_delta: 42,
        ..NewInvoice::default()
    };
    room.registry.add(new).await.unwrap();
    room
}

/// The same, paid by two HTLCs.
async fn accepted() -> Room {
    let room = room().await;
    assert_eq!(room.pay(hash(), &[1, 2], 120), [], "held");
    room
}

async fn settle(room: &Room) -> Result<Vec<Answer>, String> {
    let settled = room.registry.settle_hold(PREIMAGE).await;
    settled.map_err(|error| error.to_string())?;
    Ok(room.port.answers())
}

fn cancel(room: &Room) -> Vec<Answer> {
    let invoice = stored(room);
    let mut ledger = room.registry.ledger();
    room.registry.cancel_hold(&mut ledger, invoice);
    drop(ledger);
    room.port.answers()
}

fn stored(room: &Room) -> InvoiceRecord {
    room.store.flush();
    room.store.invoice_by_hash(&hash()).unwrap().unwrap()
}

fn htlcs(room: &Room) -> Vec<HtlcRecord> {
    room.store.flush();
    room.store.htlcs_of_invoice(1).unwrap()
}

fn states(room: &Room) -> (InvoiceState, Vec<HtlcState>) {
    let htlcs = htlcs(room).iter().map(|row| row.state).collect();
    (stored(room).state, htlcs)
}

fn at(room: &Room, blocks: u32) {
    room.port.blocks.store(blocks, Ordering::Relaxed);
}

const ACCEPTED: (InvoiceState, HtlcState) = (InvoiceState::Accepted, HtlcState::Accepted);
const SETTLED: (InvoiceState, HtlcState) = (InvoiceState::Settled, HtlcState::Settled);
const CANCELED: (InvoiceState, HtlcState) = (InvoiceState::Canceled, HtlcState::Canceled);

#[track_caller]
fn assert_all(room: &Room, (invoice, htlc): (InvoiceState, HtlcState)) {
    assert_eq!(states(room), (invoice, vec![htlc; 2]));
}

#[tokio::test]
async fn holds_a_payment_until_the_preimage_is_revealed() {
    let room = accepted().await;
    assert_all(&room, ACCEPTED);
    let invoice = stored(&room);
    assert_eq!((invoice.amt_paid_msat, invoice.preimage), (120, None));
    assert_eq!(invoice.settle_index, None);

    assert_eq!(settle(&room).await, Ok(claimed()));
    assert_all(&room, SETTLED);
    let invoice = stored(&room);
    assert_eq!(
        (invoice.amt_paid_msat, invoice.preimage),
        (120, Some(PREIMAGE))
    );
    assert_eq!(invoice.settle_index, Some(1));
    assert!(
        htlcs(&room)
            .iter()
            .all(|row| row.preimage == Some(PREIMAGE))
    );
}

#[tokio::test]
async fn startup_fails_htlcs_of_invoices_that_are_not_accepted() {
    let room = accepted().await;
    let mut invoice = stored(&room);
    invoice.state = InvoiceState::Canceled;
    room.store.submit(PutInvoice(invoice));
    let room = room.restart();
    let answers = room.port.answers();
    assert_eq!(answers, [Answer::Fail(hash_of(&PREIMAGE)); 2]);
    assert_all(&room, CANCELED);
}

#[tokio::test]
async fn invalid_payments_leave_the_invoice_open() {
    let room = room().await;
    assert_eq!(room.pay(hash(), &[1], 99), failed(hash()), "underpaid");
    at(&room, DEADLINE - 1);
    assert_eq!(room.pay(hash(), &[2], 100), failed(hash()), "too late");
    assert_eq!(states(&room), (InvoiceState::Open, vec![]));
}

#[tokio::test]
async fn replayed_payments_stay_held() {
    let room = accepted().await;
    assert_eq!(room.tell(hash(), 120), []);
    let room = room.restart();
    assert_eq!(room.tell(hash(), 120), []);
    assert_eq!(settle(&room).await, Ok(claimed()));
    assert_eq!(room.tell(hash(), 120), claimed(), "replayed");
}

#[tokio::test]
async fn settled_htlcs_are_claimed_at_startup_until_ldk_confirms() {
    let room = accepted().await;
    settle(&room).await.unwrap();
    let room = room.restart();
    assert_eq!(
        room.port.answers(),
        [claimed(), claimed()].concat(),
        "must be claimed once per row"
    );
    room.registry.payment_claimed(&hash_of(&PREIMAGE));
    let room = room.restart();
    assert_eq!(room.port.answers(), []);
}

#[tokio::test]
async fn settle_errors_match_lnd() {
    let text = |error: Result<Vec<Answer>, String>| error.unwrap_err();
    let empty = Room::new();
    assert_eq!(text(settle(&empty).await), "unable to locate invoice");
    let room = room().await;
    assert_eq!(text(settle(&room).await), "invoice still open");
    room.pay(hash(), &[1], 100);
    settle(&room).await.unwrap();
    assert_eq!(text(settle(&room).await), "invoice already settled");
    let room = accepted().await;
    cancel(&room);
    assert_eq!(text(settle(&room).await), "invoice already canceled");
    assert_eq!(room.port.answers(), [], "nothing must be claimed");
}

#[tokio::test]
async fn canceling_fails_the_payment() {
    let room = accepted().await;
    assert_eq!(cancel(&room), failed(hash()));
    assert_all(&room, CANCELED);
    assert_eq!(stored(&room).amt_paid_msat, 0);
    assert_eq!(
        room.pay(hash(), &[3], 100),
        failed(hash()),
        "a later payment"
    );
}

#[tokio::test]
async fn open_hold_invoices_can_be_canceled() {
    let room = room().await;
    // LDK may have collected some parts of a payment to it.
    assert_eq!(cancel(&room), failed(hash()));
    assert_eq!(room.pay(hash(), &[1], 100), failed(hash()));
    assert_eq!(states(&room), (InvoiceState::Canceled, vec![]));
}

#[tokio::test]
async fn rejects_settling_near_the_claim_deadline() {
    let room = accepted().await;
    at(&room, DEADLINE - 1);
    let late = room.registry.settle_hold(PREIMAGE).await.unwrap_err();
    let expected = (HEIGHT + DEADLINE, HEIGHT + DEADLINE - 1);
    assert!(
        matches!(late, InvoiceError::ClaimDeadline { deadline, height }
            if (deadline, height) == expected),
        "{late}"
    );
    assert_eq!(room.port.answers(), []);
    assert_all(&room, ACCEPTED);
    at(&room, DEADLINE - 2);
    assert_eq!(settle(&room).await, Ok(claimed()));
}

#[tokio::test]
async fn payments_failed_at_the_claim_deadline_are_canceled() {
    let room = accepted().await;
    at(&room, DEADLINE);
    room.registry.htlc_gone(&hash_of(&PREIMAGE));
    // LDK fails each part at its own deadline; the others are failed now.
    assert_eq!(room.port.answers(), failed(hash()));
    assert_all(&room, CANCELED);
}

/// A node that forwarded the payment knows its hash and can send another HTLC with it.
#[tokio::test]
async fn rejected_second_htlc_does_not_affect_the_payment() {
    let room = accepted().await;
    room.registry.htlc_gone(&hash_of(&PREIMAGE));
    assert_eq!(room.port.answers(), []);
    assert_all(&room, ACCEPTED);
}

#[tokio::test]
async fn second_payment_with_the_same_hash_cancels_the_first() {
    let room = accepted().await;
    let answers = room.pay(hash(), &[3], 120);
    assert_eq!(answers, [failed(hash()), failed(hash())].concat());
    assert_all(&room, CANCELED);
}

#[tokio::test]
async fn restart_cancels_payments_with_missing_parts() {
    let room = accepted().await;
    room.port.forget(key(2));
    let room = room.restart();
    assert_eq!(
        room.port.answers(),
        failed(hash()),
        "the other part must be failed"
    );
    assert_all(&room, CANCELED);
}

#[tokio::test]
async fn accepted_payments_survive_channel_closure() {
    let room = accepted().await;
    room.port.forget(key(1));
    room.port.forget(key(2));
    room.port.channels_closed.store(true, Ordering::Relaxed);
    let room = room.restart();
    assert_all(&room, ACCEPTED);
    assert_eq!(
        settle(&room).await,
        Ok(claimed()),
        "must be claimed on chain"
    );

    let room = accepted().await;
    room.port.channels_closed.store(true, Ordering::Relaxed);
    at(&room, DEADLINE);
    let room = room.restart();
    assert_eq!(room.port.answers(), failed(hash()), "too late");
    assert_all(&room, CANCELED);
}

/// The row was on disk, and the node stopped before LDK was told.
#[tokio::test]
async fn startup_fails_canceled_htlcs_that_ldk_still_holds() {
    let room = accepted().await;
    cancel(&room);
    let room = room.restart();
    assert_eq!(room.port.answers(), failed(hash()));
    room.port.forget(key(1));
    room.port.forget(key(2));
    let room = room.restart();
    assert_eq!(room.port.answers(), []);
}

#[tokio::test]
async fn accepted_invoices_do_not_expire() {
    let room = accepted().await;
    let expired = InvoiceRecord {
        expires_at: Some(0),
        ..stored(&room)
    };
    let rows = htlcs(&room);
    let other = Room::new();
    other.store.submit(PutInvoice(expired));
    for row in rows {
        other.store.submit(PutHtlc(row));
    }
    other.bring(hash(), &[1, 2], 120);
    let other = other.restart();
    assert_eq!(other.tell(hash(), 120), [], "replayed");
    assert_eq!(settle(&other).await, Ok(claimed()));
}
