use std::collections::BTreeMap;

use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;

use crate::amp::HtlcKey;
use crate::invoices::port::{Claimable, IncomingHtlc};
use crate::invoices::test_room::{Answer, HEIGHT, Room, payment};
use crate::invoices::{InvoiceError, NewInvoice, Purpose};
use crate::storage::invoices::{HtlcState, InvoiceRecord, InvoiceState, PutInvoice};

async fn invoice(room: &Room, value_msat: u64) -> InvoiceRecord {
    let new = NewInvoice {
        value_msat,
        ..NewInvoice::default()
    };
    room.registry.add(new).await.unwrap()
}

/// HTLCs with these ids arrive and together bring the amount.
fn pay(room: &Room, hash: [u8; 32], htlc_ids: &[u64], amount_msat: u64) -> Vec<Answer> {
    for htlc_id in htlc_ids {
        let key = HtlcKey {
            channel_id: ChannelId([1; 32]),
            htlc_id: *htlc_id,
        };
        let htlc = IncomingHtlc {
            key,
            amount_msat: amount_msat / htlc_ids.len() as u64,
            cltv_expiry: HEIGHT + 100,
        };
        room.port.forget(key);
        let mut present = room.port.present.lock().unwrap();
        present.push((PaymentHash(hash), htlc));
    }
    tell(room, hash, amount_msat)
}

fn tell(room: &Room, hash: [u8; 32], amount_msat: u64) -> Vec<Answer> {
    room.registry.accept_bolt11(Claimable {
        payment_hash: PaymentHash(hash),
        amount_msat,
        claim_deadline: Some(HEIGHT + 61),
        custom_records: BTreeMap::new(),
    });
    room.store.flush();
    room.port.answers()
}

fn claimed(invoice: &InvoiceRecord) -> Vec<Answer> {
    vec![Answer::Claim(PaymentHash(invoice.payment_hash))]
}

fn failed(hash: [u8; 32]) -> Vec<Answer> {
    vec![Answer::Fail(PaymentHash(hash))]
}

#[tokio::test]
async fn a_payment_settles_its_invoice_once() {
    let room = Room::new();
    let invoice = invoice(&room, 100).await;
    let hash = invoice.payment_hash;
    assert_eq!(pay(&room, hash, &[1, 2], 120), claimed(&invoice));
    let stored = room.store.invoice_by_hash(&hash).unwrap().unwrap();
    assert_eq!(stored.state, InvoiceState::Settled);
    assert_eq!((stored.settle_index, stored.amt_paid_msat), (Some(1), 120));
    let htlcs = room.store.htlcs_of_invoice(stored.add_index).unwrap();
    assert_eq!(htlcs.len(), 2);
    assert!(htlcs.iter().all(|row| row.state == HtlcState::Settled));
    assert!(htlcs.iter().all(|row| row.preimage == stored.preimage));
}

#[tokio::test]
async fn what_does_not_fit_an_invoice_is_refused() {
    let room = Room::new();
    let invoice = invoice(&room, 100).await;
    assert_eq!(pay(&room, [9; 32], &[1], 100), failed([9; 32]), "unknown");
    let hash = invoice.payment_hash;
    assert_eq!(pay(&room, hash, &[2], 99), failed(hash), "too little");
    let mut expired = invoice.clone();
    (expired.add_index, expired.payment_hash) = (2, [2; 32]);
    (expired.payment_addr, expired.expires_at) = ([2; 32], Some(0));
    room.store.submit(PutInvoice(expired.clone()));
    let mut canceled = invoice.clone();
    (canceled.add_index, canceled.payment_hash) = (3, [3; 32]);
    (canceled.payment_addr, canceled.state) = ([3; 32], InvoiceState::Canceled);
    room.store.submit(PutInvoice(canceled));
    room.store.flush();
    assert_eq!(pay(&room, [2; 32], &[3], 100), failed([2; 32]), "expired");
    assert_eq!(pay(&room, [3; 32], &[4], 100), failed([3; 32]), "canceled");
}

#[tokio::test]
async fn an_ordinary_payment_with_the_hash_of_a_spontaneous_one_is_refused() {
    let room = Room::new();
    let shards = payment(1, &[60, 40]);
    room.arrive(&shards[0]);
    let hash = shards[0].hash().0;
    assert_eq!(pay(&room, hash, &[1], 100), failed(hash));
}

#[tokio::test]
async fn a_payment_that_is_told_again_is_claimed_again_also_after_a_restart() {
    let room = Room::new();
    let invoice = invoice(&room, 100).await;
    let hash = invoice.payment_hash;
    pay(&room, hash, &[1, 2], 100);
    assert_eq!(tell(&room, hash, 100), claimed(&invoice));
    let room = room.restart();
    assert_eq!(room.port.answers().len(), 2, "claimed for each row");
    assert_eq!(tell(&room, hash, 100), claimed(&invoice));
    // One is gone already, or the channel was closed with both of them.
    for htlc_id in [1, 2] {
        room.port.forget(HtlcKey {
            channel_id: ChannelId([1; 32]),
            htlc_id,
        });
        assert_eq!(tell(&room, hash, 100), claimed(&invoice));
    }
    let stored = room.store.invoice_by_hash(&hash).unwrap().unwrap();
    assert_eq!((stored.settle_index, stored.amt_paid_msat), (Some(1), 100));
}

#[tokio::test]
async fn a_second_payment_is_refused_even_while_the_first_leaves_the_channel() {
    let room = Room::new();
    let invoice = invoice(&room, 100).await;
    let hash = invoice.payment_hash;
    pay(&room, hash, &[1], 100);
    assert_eq!(pay(&room, hash, &[2], 100), failed(hash));
}

#[tokio::test]
async fn a_hash_is_used_once() {
    let room = Room::new();
    let new = NewInvoice {
        purpose: Purpose::Once {
            preimage: Some([5; 32]),
        },
        ..NewInvoice::default()
    };
    room.registry.add(new.clone()).await.unwrap();
    let again = room.registry.add(new).await;
    assert!(matches!(again, Err(InvoiceError::Duplicate)), "{again:?}");
}

/// After a long time down LDK first gives back what is too late, then tells that it came.
#[tokio::test]
async fn a_payment_that_ldk_gives_back_settles_nothing() {
    let room = Room::new();
    let invoice = invoice(&room, 1_000).await;
    let hash = invoice.payment_hash;
    let claimable = |claim_deadline| Claimable {
        payment_hash: PaymentHash(hash),
        amount_msat: 1_000,
        claim_deadline: Some(claim_deadline),
        custom_records: BTreeMap::new(),
    };
    room.registry.accept_bolt11(claimable(HEIGHT + 1));
    assert_eq!(room.port.answers(), failed(hash));
    room.registry.accept_bolt11(claimable(HEIGHT + 2));
    assert_eq!(room.port.answers(), claimed(&invoice));
}
