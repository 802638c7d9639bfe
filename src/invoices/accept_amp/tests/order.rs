//! Rules are checked in lnd's order: a shard that breaks several fails by the first.

use crate::invoices::accept_amp::Refusal;
use crate::invoices::test_registry::*;
use crate::invoices::{InvoiceRef, Limits, NewInvoice, Purpose};
use crate::storage::invoices::{InvoiceRecord, PutInvoice};
use ldk_amp::{FailReason, SetId};

fn fixture(accept_amp: bool) -> Fixture {
    Fixture::with(Limits {
        accept_amp,
        max_open_sets: 2,
        ..LIMITS
    })
}

async fn static_invoice(fixture: &Fixture) -> InvoiceRecord {
    let new = NewInvoice {
        purpose: Purpose::Amp,
        value_msat: 100,
        ..NewInvoice::default()
    };
    fixture.registry.add(new).await.unwrap()
}

fn refusal(fixture: &Fixture, shard: &Sent) -> Option<Refusal> {
    let state = fixture.registry.state();
    let checked = fixture
        .registry
        .check(&state, &shard.claimable, &shard.envelope);
    checked.err()
}

/// A shard that breaks all rules is corrected rule by rule.
#[tokio::test]
async fn first_broken_rule_is_the_reason() {
    use Refusal::*;
    let fixture = fixture(false);
    let ordinary = fixture.registry.add(NewInvoice::default()).await.unwrap();
    let invoice = static_invoice(&fixture).await;
    let other = static_invoice(&fixture).await;
    let off = static_invoice(&fixture).await;
    let by = InvoiceRef::Addr(off.payment_addr);
    fixture.registry.set_enabled(&by, false).await.unwrap();
    let expired = InvoiceRecord {
        add_index: 5,
        payment_hash: [5; 32],
        payment_addr: [5; 32],
        expires_at: Some(1),
        ..invoice.clone()
    };
    fixture.store.submit(PutInvoice(expired));
    fixture.store.flush();
    let ours = payment(7, &[150, 50]).remove(0).to(invoice.payment_addr);
    let theirs = payment(8, &[150, 50]).remove(0).to(other.payment_addr);
    assert_eq!(fixture.arrive_all(&[ours, theirs]), []);

    let good = payment(7, &[150, 50]).remove(1).to(invoice.payment_addr);
    let with_set = |mut shard: Sent, id| {
        shard.envelope.amp.set_id = SetId::from_bytes([id; 32]);
        shard
    };
    let late = |shard: &Sent| shard.clone().expiring(HEIGHT + 79);
    let set = |reason| Some(Set(reason));
    let mut bad = late(&good).total(0).to([9; 32]);
    bad.claimable.payment_hash.0 = ordinary.payment_hash;
    let mpp = bad.envelope.mpp.take();
    assert_eq!(refusal(&fixture, &bad), Some(AmpError), "no MPP record");
    bad.envelope.mpp = mpp;
    assert_eq!(
        refusal(&fixture, &bad),
        Some(HtlcInvoiceTypeMismatch),
        "hash"
    );
    bad.claimable.payment_hash = good.hash();
    assert_eq!(refusal(&fixture, &bad), Some(InvoiceNotFound));
    bad = bad.to(ordinary.payment_addr);
    assert_eq!(refusal(&fixture, &bad), Some(HtlcInvoiceTypeMismatch));
    bad = bad.to(off.payment_addr);
    assert_eq!(refusal(&fixture, &bad), Some(InvoiceNotOpen));
    bad = bad.to([5; 32]);
    assert_eq!(refusal(&fixture, &bad), Some(InvoiceExpired));
    bad = bad.to(invoice.payment_addr);
    assert_eq!(refusal(&fixture, &bad), Some(HtlcSetTotalTooLow), "zero");
    bad = bad.total(99);
    assert_eq!(
        refusal(&fixture, &bad),
        Some(HtlcSetTotalTooLow),
        "99 of 100"
    );
    bad = bad.total(201);
    let mismatch = set(FailReason::HtlcSetTotalMismatch);
    assert_eq!(refusal(&fixture, &bad), mismatch);
    // The set of the other invoice also has another total, which does not matter for this one.
    for id in [0, 8] {
        let bad = with_set(bad.clone(), id);
        assert_eq!(refusal(&fixture, &bad), Some(ExpiryTooSoon));
    }
    bad = bad.expiring(HEIGHT + 80);
    let zero = with_set(bad.clone(), 0);
    assert_eq!(refusal(&fixture, &zero), set(FailReason::AmpError));
    let known = with_set(bad.clone(), 8);
    assert_eq!(refusal(&fixture, &known), Some(InvoiceNotFound), "set id");
    let third = with_set(bad, 9);
    assert_eq!(refusal(&fixture, &third), Some(TooMuchHeld));
    assert_eq!(refusal(&fixture, &good), None);
}

#[tokio::test]
async fn with_accept_amp_shards_near_expiry_are_amp_errors() {
    let fixture = fixture(true);
    let invoice = static_invoice(&fixture).await;
    let shard = payment(1, &[100]).remove(0).to(invoice.payment_addr);
    let at = |blocks| refusal(&fixture, &shard.clone().expiring(HEIGHT + blocks));
    assert_eq!(at(18), Some(Refusal::AmpError));
    assert_eq!(at(19), Some(Refusal::ExpiryTooSoon));
    assert_eq!(at(80), None);
}
