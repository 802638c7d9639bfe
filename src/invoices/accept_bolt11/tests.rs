//! Payments to BOLT 11 invoices.

use std::sync::atomic::Ordering;

use lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::invoices::test_payments::{failed, key};
use crate::invoices::test_registry::{Answer, Fixture, payment, payment_addr};
use crate::invoices::{InvoiceError, NewInvoice, Purpose};
use crate::model::htlc::HtlcState;
use crate::model::invoice::{InvoiceRecord, InvoiceState};
use crate::storage::invoices::PutInvoice;

async fn invoice(fixture: &Fixture, value_msat: u64) -> InvoiceRecord {
    let new = NewInvoice {
        value_msat,
        ..NewInvoice::default()
    };
    fixture.registry.add(new).await.unwrap()
}

fn claimed(invoice: &InvoiceRecord) -> Vec<Answer> {
    vec![Answer::Claim(invoice.payment_hash)]
}

#[tokio::test]
async fn invoice_settles_once() {
    let fixture = Fixture::new();
    let invoice = invoice(&fixture, 100).await;
    let hash = invoice.payment_hash;
    assert_eq!(fixture.pay(hash, &[1, 2], 120), claimed(&invoice));
    let stored = fixture.store.invoice_by_hash(&hash).unwrap().unwrap();
    assert_eq!(stored.state, InvoiceState::Settled);
    assert_eq!((stored.settle_index, stored.amt_paid_msat), (Some(1), 120));
    let htlcs = fixture.store.htlcs_of_invoice(stored.add_index).unwrap();
    assert_eq!(htlcs.len(), 2);
    assert!(htlcs.iter().all(|row| row.state == HtlcState::Settled));
    assert!(htlcs.iter().all(|row| row.preimage == stored.preimage));
}

#[tokio::test]
async fn rejects_payments_that_do_not_match_the_invoice() {
    let fixture = Fixture::new();
    let invoice = invoice(&fixture, 100).await;
    assert_eq!(
        fixture.pay(PaymentHash([9; 32]), &[1], 100),
        failed(PaymentHash([9; 32])),
        "unknown"
    );
    let hash = invoice.payment_hash;
    assert_eq!(fixture.pay(hash, &[2], 99), failed(hash), "underpaid");
    let mut expired = invoice.clone();
    (expired.add_index, expired.payment_hash) = (2, PaymentHash([2; 32]));
    (expired.payment_addr, expired.expires_at) = (payment_addr(2), Some(0));
    fixture.store.submit(PutInvoice(expired.clone()));
    let mut canceled = invoice.clone();
    (canceled.add_index, canceled.payment_hash) = (3, PaymentHash([3; 32]));
    (canceled.payment_addr, canceled.state) = (payment_addr(3), InvoiceState::Canceled);
    fixture.store.submit(PutInvoice(canceled));
    fixture.store.flush();
    assert_eq!(
        fixture.pay(PaymentHash([2; 32]), &[3], 100),
        failed(PaymentHash([2; 32])),
        "expired"
    );
    assert_eq!(
        fixture.pay(PaymentHash([3; 32]), &[4], 100),
        failed(PaymentHash([3; 32])),
        "canceled"
    );
}

#[tokio::test]
async fn rejects_bolt11_payments_with_the_hash_of_a_spontaneous_payment() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    let hash = shards[0].hash();
    assert_eq!(fixture.pay(hash, &[1], 100), failed(hash));
}

#[tokio::test]
async fn replayed_payments_are_claimed_again() {
    let fixture = Fixture::new();
    let invoice = invoice(&fixture, 100).await;
    let hash = invoice.payment_hash;
    fixture.pay(hash, &[1, 2], 100);
    assert_eq!(fixture.tell(hash, 100), claimed(&invoice));
    let fixture = fixture.restart();
    assert_eq!(
        fixture.port.answers().len(),
        2,
        "must be claimed once per row"
    );
    assert_eq!(fixture.tell(hash, 100), claimed(&invoice));
    // One HTLC is already gone, or the channel was closed with both of them.
    for htlc_id in [1, 2] {
        fixture.port.forget(key(htlc_id));
        assert_eq!(fixture.tell(hash, 100), claimed(&invoice));
    }
    let stored = fixture.store.invoice_by_hash(&hash).unwrap().unwrap();
    assert_eq!((stored.settle_index, stored.amt_paid_msat), (Some(1), 100));
}

#[tokio::test]
async fn rejects_a_second_payment_while_the_first_is_in_the_channel() {
    let fixture = Fixture::new();
    let invoice = invoice(&fixture, 100).await;
    let hash = invoice.payment_hash;
    fixture.pay(hash, &[1], 100);
    assert_eq!(fixture.pay(hash, &[2], 100), failed(hash));
}

#[tokio::test]
async fn payment_hashes_are_unique() {
    let fixture = Fixture::new();
    let new = NewInvoice {
        purpose: Purpose::Once {
            preimage: Some(PaymentPreimage([5; 32])),
        },
        ..NewInvoice::default()
    };
    fixture.registry.add(new.clone()).await.unwrap();
    let again = fixture.registry.add(new).await;
    assert!(matches!(again, Err(InvoiceError::Duplicate)), "{again:?}");
}

#[tokio::test]
async fn rejects_payments_below_the_invoice_cltv_delta() {
    let fixture = Fixture::new();
    let new = NewInvoice {
        cltv_delta: 101,
        ..NewInvoice::default()
    };
    let hash = fixture.registry.add(new).await.unwrap().payment_hash;
    assert_eq!(fixture.pay(hash, &[1], 100), failed(hash), "100 are left");
}

/// A node that was down gets a payment that LDK fails back during the same startup.
#[tokio::test]
async fn rejects_payments_at_their_claim_deadline() {
    let fixture = Fixture::new();
    let new = NewInvoice {
        cltv_delta: 42,
        ..NewInvoice::default()
    };
    let invoice = fixture.registry.add(new).await.unwrap();
    let hash = invoice.payment_hash;
    let (late, in_time) = (100 - 39 - 1, 100 - 39 - 2);
    fixture.port.blocks.store(late, Ordering::Relaxed);
    assert_eq!(fixture.tell(hash, 100), failed(hash));
    fixture.port.blocks.store(in_time, Ordering::Relaxed);
    assert_eq!(fixture.tell(hash, 100), claimed(&invoice));
}
