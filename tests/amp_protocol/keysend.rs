//! Keysend: payments to a public key that carry their own preimage.

use ampd::invoices::{Limits, NewInvoice, Purpose};
use ampd::model::invoice::{InvoiceKind, InvoiceState};
use ldk_amp::PaymentAddr;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::types::payment::{PaymentHash, PaymentPreimage};

use crate::scene::*;
use crate::sender::{Outcome, Shard, shards};

const PREIMAGE: PaymentPreimage = PaymentPreimage([5; 32]);
const RECORD: u64 = 5_482_373_484;
const CHAT: u64 = 34_349_334;
const ADDR: PaymentAddr = PaymentAddr::from_bytes([7; 32]);

fn hash() -> PaymentHash {
    PREIMAGE.into()
}

/// Returns a keysend HTLC without an MPP record, as lnd sends it.
fn keysend() -> Shard {
    with_mpp(50_000).without_mpp()
}

/// Returns a keysend HTLC with an MPP record with this total.
fn with_mpp(total_msat: u64) -> Shard {
    let shard = shards(set(1), ADDR, &[total_msat]).remove(0).without_amp();
    let shard = shard.amount(50_000).with_hash(hash());
    shard.with_record(RECORD, &PREIMAGE.0)
}

/// Asserts that these are refused with PERM|15 and not stored.
#[track_caller]
fn assert_refused(scene: &Scene, keysends: &[Shard]) {
    let attempts = scene.send_all(keysends);
    for (attempt, keysend) in attempts.iter().zip(keysends) {
        assert_eq!(scene.outcome(attempt), scene.refusal(keysend));
    }
    assert_eq!(scene.receiver.invoices(), []);
}

#[test]
fn keysend_from_ldk_settles_and_its_records_are_stored() {
    let scene = Scene::new();
    let records = vec![(65_537, vec![1]), (CHAT, b"hello".to_vec())];
    let onion = RecipientOnionFields::spontaneous_empty();
    let onion = onion.with_custom_tlvs(records).unwrap();
    let attempt = scene.send_keysend(PREIMAGE, 50_000, onion);
    assert_eq!(scene.outcome(&attempt), Outcome::Settled);

    let [invoice] = &scene.receiver.invoices()[..] else {
        panic!("expected one invoice")
    };
    assert_eq!(invoice.kind, InvoiceKind::Keysend);
    assert_eq!(invoice.state, InvoiceState::Settled);
    let amounts = (invoice.value_msat, invoice.amt_paid_msat);
    assert_eq!(amounts, (50_000, 50_000));
    let [htlc] = &scene.receiver.htlcs_of_invoice(1)[..] else {
        panic!("expected one HTLC")
    };
    let kept = [
        (65_537, vec![1]),
        (CHAT, b"hello".to_vec()),
        (RECORD, PREIMAGE.0.to_vec()),
    ];
    assert_eq!(htlc.custom_records, kept.into());
    assert!(htlc.claimed);
}

#[test]
fn keysend_as_sent_by_lnd_settles() {
    let scene = Scene::new();
    scene.assert_settles(&[keysend()]);
}

#[test]
fn rejects_keysend_when_disabled() {
    let scene = Scene::with(Limits {
        accept_keysend: false,
        ..LIMITS
    });
    assert_refused(&scene, &[keysend()]);
}

#[test]
fn rejects_a_preimage_that_does_not_match_the_hash() {
    let scene = Scene::new();
    assert_refused(&scene, &[keysend().with_hash(PaymentHash([9; 32]))]);
}

/// LDK would collect the parts and present them as one payment.
#[test]
fn rejects_keysend_with_an_mpp_record() {
    let scene = Scene::new();
    assert_refused(&scene, &[with_mpp(50_000)]);
    let part = with_mpp(100_000);
    assert_refused(&scene, &[part.clone(), part]);
}

#[test]
fn rejects_a_second_keysend_with_the_same_hash() {
    let scene = Scene::new();
    scene.assert_settles(&[keysend()]);
    let again = scene.send(&keysend());
    assert_eq!(scene.outcome(&again), scene.refusal(&keysend()));
    assert_eq!(scene.receiver.htlcs_of_invoice(1).len(), 1);
}

#[test]
fn rejects_keysend_with_an_invoices_hash_and_leaves_the_invoice_payable() {
    let scene = Scene::new();
    scene.receiver.add(NewInvoice {
        purpose: Purpose::Once {
            preimage: Some(PREIMAGE),
        },
        ..NewInvoice::default()
    });
    let refused = scene.send(&keysend());
    assert_eq!(scene.outcome(&refused), scene.refusal(&keysend()));
    scene.assert_settles(&[scene.regular(hash(), 50_000)]);
}

#[test]
fn replayed_event_after_a_restart_settles_once() {
    let mut scene = Scene::new();
    scene.receiver.keep_events.set(true);
    let attempt = scene.send(&keysend());
    scene.restart();
    scene.receiver.keep_events.set(false);
    scene.run();
    assert_eq!(scene.outcome(&attempt), Outcome::Settled);
    let invoices = scene.receiver.invoices();
    let indices: Vec<_> = invoices.iter().map(|i| i.settle_index).collect();
    assert_eq!(indices, [Some(1)]);
}
