//! Keysend payments.

use lightning_types::payment::{PaymentHash, PaymentPreimage, PaymentSecret};

use crate::invoices::test_payments::{claimable, failed, key};
use crate::invoices::test_registry::{Answer, Fixture, LIMITS, next};
use crate::invoices::{Limits, NewInvoice, Purpose};
use crate::model::htlc::HtlcState;
use crate::model::invoice::{InvoiceKind, InvoiceState};

const PREIMAGE: PaymentPreimage = PaymentPreimage([5; 32]);
const CHAT: u64 = 34_349_334;

fn hash() -> PaymentHash {
    PREIMAGE.into()
}

/// An HTLC with 100 msat and the preimage arrives.
fn pay(fixture: &Fixture, htlc_id: u64) -> Vec<Answer> {
    fixture.bring(hash(), &[htlc_id], 100);
    tell(fixture, None)
}

fn tell(fixture: &Fixture, secret: Option<PaymentSecret>) -> Vec<Answer> {
    let mut claimable = claimable(hash(), 100);
    claimable.custom_records.insert(CHAT, b"hello".to_vec());
    fixture.registry.accept_keysend(claimable, PREIMAGE, secret);
    fixture.store.flush();
    fixture.port.answers()
}

fn claimed() -> Vec<Answer> {
    vec![Answer::Claim(PREIMAGE.into())]
}

#[tokio::test]
async fn keysend_creates_and_settles_an_invoice() {
    let fixture = Fixture::new();
    let mut events = fixture.subscribe(0, 0);
    assert_eq!(pay(&fixture, 1), claimed());
    assert_eq!(next(&mut events).await, ("added", 1));
    assert_eq!(next(&mut events).await, ("settled", 1));
    let invoice = fixture.store.invoice_by_hash(&hash()).unwrap().unwrap();
    assert_eq!(invoice.kind, InvoiceKind::Keysend);
    assert_eq!(invoice.state, InvoiceState::Settled);
    assert_eq!(invoice.preimage, Some(PREIMAGE));
    assert_eq!((invoice.value_msat, invoice.amt_paid_msat), (100, 100));
    assert_eq!(invoice.terms.payment_request, "");
    let [htlc] = &fixture.store.htlcs_of_invoice(1).unwrap()[..] else {
        panic!("one HTLC")
    };
    assert_eq!((htlc.state, htlc.total_msat), (HtlcState::Settled, 0));
    assert_eq!(htlc.custom_records[&CHAT], b"hello");
    assert_eq!(htlc.custom_records[&5_482_373_484], PREIMAGE.0);
}

#[tokio::test]
async fn rejects_keysend_when_disabled() {
    let limits = Limits {
        accept_keysend: false,
        ..LIMITS
    };
    let fixture = Fixture::with(limits);
    assert_eq!(pay(&fixture, 1), failed(hash()));
    assert_eq!(fixture.invoices(), []);
}

#[tokio::test]
async fn rejects_keysend_with_mpp_record() {
    let fixture = Fixture::new();
    fixture.bring(hash(), &[1], 100);
    let secret = Some(PaymentSecret([1; 32]));
    assert_eq!(tell(&fixture, secret), failed(hash()));
    assert_eq!(fixture.invoices(), []);
}

#[tokio::test]
async fn keysend_does_not_pay_existing_invoices() {
    let preimage = Some(PREIMAGE);
    for purpose in [Purpose::Once { preimage }, Purpose::Hold { hash: hash() }] {
        let fixture = Fixture::new();
        let new = NewInvoice {
            purpose,
            ..NewInvoice::default()
        };
        fixture.registry.add(new).await.unwrap();
        assert_eq!(pay(&fixture, 1), failed(hash()));
        assert_eq!(fixture.invoices()[0].state, InvoiceState::Open);
    }
}

#[tokio::test]
async fn replayed_keysend_is_claimed_again() {
    let fixture = Fixture::new();
    pay(&fixture, 1);
    assert_eq!(tell(&fixture, None), claimed(), "replayed");
    let fixture = fixture.restart_with(Limits {
        accept_keysend: false,
        ..LIMITS
    });
    assert_eq!(
        fixture.port.answers(),
        claimed(),
        "must be claimed at every startup"
    );
    assert_eq!(
        tell(&fixture, None),
        claimed(),
        "must be claimed although keysend is disabled"
    );
    fixture.port.forget(key(1));
    assert_eq!(pay(&fixture, 2), failed(hash()), "another payment");
    let indices: Vec<_> = fixture.invoices().iter().map(|i| i.settle_index).collect();
    assert_eq!(indices, [Some(1)]);
}

#[tokio::test]
async fn rejects_bolt11_payments_to_a_keysend_hash() {
    let fixture = Fixture::new();
    pay(&fixture, 1);
    assert_eq!(fixture.pay(hash(), &[2], 100), failed(hash()));
}
