//! Rules are checked in lnd's order: a shard that breaks several fails by the first.

use crate::invoices::accept_amp::Refusal;
use crate::invoices::test_registry::*;
use crate::invoices::{Limits, NewInvoice, Purpose};
use crate::model::invoice::{InvoiceRecord, InvoiceRef};
use crate::storage::invoices::PutInvoice;
use ldk_amp::FailReason;
use lightning_types::payment::PaymentHash;

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

/// The invoices that the shards are sent to.
struct Invoices {
    bolt11: InvoiceRecord,
    /// Has a set with a total of 200 msat, as `other` has.
    amp: InvoiceRecord,
    other: InvoiceRecord,
    disabled: InvoiceRecord,
    expired: InvoiceRecord,
}

impl Invoices {
    async fn new(fixture: &Fixture) -> Self {
        let bolt11 = fixture.registry.add(NewInvoice::default()).await.unwrap();
        let amp = static_invoice(fixture).await;
        let invoices = Self {
            other: static_invoice(fixture).await,
            disabled: static_invoice(fixture).await,
            expired: InvoiceRecord {
                add_index: 5,
                payment_hash: PaymentHash([5; 32]),
                payment_addr: payment_addr(5),
                expires_at: Some(1),
                ..amp.clone()
            },
            bolt11,
            amp,
        };
        let by = InvoiceRef::Addr(invoices.disabled.payment_addr);
        fixture.registry.set_enabled(&by, false).await.unwrap();
        fixture.store.submit(PutInvoice(invoices.expired.clone()));
        fixture.store.flush();
        let first =
            |set, to: &InvoiceRecord| payment(set, &[150, 50]).remove(0).to(to.payment_addr);
        let held = [first(7, &invoices.amp), first(8, &invoices.other)];
        assert_eq!(fixture.arrive_all(&held), []);
        invoices
    }
}

/// The shard with another set id.
fn with_set(shard: &Sent, id: u8) -> Sent {
    let mut shard = shard.clone();
    shard.envelope.amp.set_id = set_id(id);
    shard
}

/// A shard that breaks all rules is corrected rule by rule.
#[tokio::test]
async fn first_broken_rule_is_the_reason() {
    use Refusal::*;
    let fixture = fixture(false);
    let to = Invoices::new(&fixture).await;
    let refused = |shard: &Sent| refusal(&fixture, shard);
    let good = payment(7, &[150, 50]).remove(1).to(to.amp.payment_addr);

    let mut bad = good
        .clone()
        .expiring(HEIGHT + 79)
        .total(0)
        .to(payment_addr(9));
    bad.claimable.payment_hash = to.bolt11.payment_hash;
    let mpp = bad.envelope.mpp.take();
    assert_eq!(refused(&bad), Some(AmpError), "no MPP record");
    bad.envelope.mpp = mpp;
    assert_eq!(refused(&bad), Some(HtlcInvoiceTypeMismatch), "hash");
    bad.claimable.payment_hash = good.hash();
    assert_eq!(refused(&bad), Some(InvoiceNotFound));
    for (invoice, reason) in [
        (&to.bolt11, HtlcInvoiceTypeMismatch),
        (&to.disabled, InvoiceNotOpen),
        (&to.expired, InvoiceExpired),
        (&to.amp, HtlcSetTotalTooLow),
    ] {
        bad = bad.to(invoice.payment_addr);
        assert_eq!(refused(&bad), Some(reason));
    }
    for (total, reason) in [
        (99, HtlcSetTotalTooLow),
        (201, Set(FailReason::HtlcSetTotalMismatch)),
    ] {
        bad = bad.total(total);
        assert_eq!(refused(&bad), Some(reason), "{total} of 100");
    }
    // The set of the other invoice also has another total, which does not matter for this one.
    for id in [0, 8] {
        assert_eq!(refused(&with_set(&bad, id)), Some(ExpiryTooSoon));
    }
    bad = bad.expiring(HEIGHT + 80);
    for (id, reason) in [
        (0, Set(FailReason::AmpError)),
        (8, InvoiceNotFound),
        (9, TooMuchHeld),
    ] {
        assert_eq!(refused(&with_set(&bad, id)), Some(reason), "set {id}");
    }
    assert_eq!(refused(&good), None);
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
