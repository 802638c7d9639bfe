use lightning_types::payment::{PaymentPreimage, PaymentSecret};

use crate::invoices::test_payments::{claimable, failed, key};
use crate::invoices::test_room::{Answer, LIMITS, Room, hash_of, next};
use crate::invoices::{Limits, NewInvoice, Purpose};
use crate::storage::invoices::{HtlcState, InvoiceKind, InvoiceState};

const PREIMAGE: [u8; 32] = [5; 32];
const CHAT: u64 = 34_349_334;

fn hash() -> [u8; 32] {
    hash_of(&PREIMAGE).0
}

/// An HTLC with 100 msat and the preimage arrives.
fn pay(room: &Room, htlc_id: u64) -> Vec<Answer> {
    room.bring(hash(), &[htlc_id], 100);
    tell(room, None)
}

fn tell(room: &Room, secret: Option<PaymentSecret>) -> Vec<Answer> {
    let mut claimable = claimable(hash(), 100);
    claimable.custom_records.insert(CHAT, b"hello".to_vec());
    let preimage = PaymentPreimage(PREIMAGE);
    room.registry.accept_keysend(claimable, preimage, secret);
    room.store.flush();
    room.port.answers()
}

fn claimed() -> Vec<Answer> {
    vec![Answer::Claim(hash_of(&PREIMAGE))]
}

#[tokio::test]
async fn keysend_creates_and_settles_an_invoice() {
    let room = Room::new();
    let mut events = room.subscribe(0, 0);
    assert_eq!(pay(&room, 1), claimed());
    assert_eq!(next(&mut events).await, ("added", 1));
    assert_eq!(next(&mut events).await, ("settled", 1));
    let invoice = room.store.invoice_by_hash(&hash()).unwrap().unwrap();
    assert_eq!(invoice.kind, InvoiceKind::Keysend);
    assert_eq!(invoice.state, InvoiceState::Settled);
    assert_eq!(invoice.preimage, Some(PREIMAGE));
    assert_eq!((invoice.value_msat, invoice.amt_paid_msat), (100, 100));
    assert_eq!(invoice.terms.payment_request, "");
    let [htlc] = &room.store.htlcs_of_invoice(1).unwrap()[..] else {
        panic!("one HTLC")
    };
    assert_eq!((htlc.state, htlc.total_msat), (HtlcState::Settled, 0));
    assert_eq!(htlc.custom_records[&CHAT], b"hello");
    assert_eq!(htlc.custom_records[&5_482_373_484], PREIMAGE);
}

#[tokio::test]
async fn rejects_keysend_when_disabled() {
    let limits = Limits {
        accept_keysend: false,
        ..LIMITS
    };
    let room = Room::with(limits);
    assert_eq!(pay(&room, 1), failed(hash()));
    assert_eq!(room.invoices(), []);
}

#[tokio::test]
async fn rejects_keysend_with_mpp_record() {
    let room = Room::new();
    room.bring(hash(), &[1], 100);
    let secret = Some(PaymentSecret([1; 32]));
    assert_eq!(tell(&room, secret), failed(hash()));
    assert_eq!(room.invoices(), []);
}

#[tokio::test]
async fn keysend_does_not_pay_existing_invoices() {
    let preimage = Some(PREIMAGE);
    for purpose in [Purpose::Once { preimage }, Purpose::Hold { hash: hash() }] {
        let room = Room::new();
        let new = NewInvoice {
            purpose,
            ..NewInvoice::default()
        };
        room.registry.add(new).await.unwrap();
        assert_eq!(pay(&room, 1), failed(hash()));
        assert_eq!(room.invoices()[0].state, InvoiceState::Open);
    }
}

#[tokio::test]
async fn replayed_keysend_is_claimed_again() {
    let room = Room::new();
    pay(&room, 1);
    assert_eq!(tell(&room, None), claimed(), "replayed");
    let room = room.restart_with(Limits {
        accept_keysend: false,
        ..LIMITS
    });
    assert_eq!(
        room.port.answers(),
        claimed(),
        "must be claimed at every startup"
    );
    assert_eq!(
        tell(&room, None),
        claimed(),
        "must be claimed although keysend is disabled"
    );
    room.port.forget(key(1));
    assert_eq!(pay(&room, 2), failed(hash()), "another payment");
    let indices: Vec<_> = room.invoices().iter().map(|i| i.settle_index).collect();
    assert_eq!(indices, [Some(1)]);
}

#[tokio::test]
async fn rejects_bolt11_payments_to_a_keysend_hash() {
    let room = Room::new();
    pay(&room, 1);
    assert_eq!(room.pay(hash(), &[2], 100), failed(hash()));
}
