//! Keysend: payments to the public key that bring their own preimage.

use ldk_amp::PaymentAddr;
use ampd::invoices::{Limits, NewInvoice, Purpose};
use ampd::storage::invoices::{InvoiceKind, InvoiceState};
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

/// A keysend HTLC made by hand, as lnd makes it: without MPP record.
fn keysend() -> Shard {
    with_mpp(50_000).without_mpp()
}

/// The same with an MPP record that names this total.
fn with_mpp(total_msat: u64) -> Shard {
    let shard = shards(set(1), ADDR, &[total_msat]).remove(0).without_amp();
    let shard = shard.amount(50_000).with_hash(hash());
    shard.with_record(RECORD, &PREIMAGE.0)
}

/// Refused with PERM|15, and nothing is left in the books.
#[track_caller]
fn assert_refused(scene: &Scene, keysends: &[Shard]) {
    let attempts = scene.send_all(keysends);
    for (attempt, keysend) in attempts.iter().zip(keysends) {
        assert_eq!(scene.outcome(attempt), scene.refusal(keysend));
    }
    assert_eq!(scene.receiver.invoices(), []);
}

#[test]
fn a_keysend_from_ldk_is_settled_and_its_records_are_kept() {
    let scene = Scene::new();
    let records = vec![(65_537, vec![1]), (CHAT, b"hello".to_vec())];
    let onion = RecipientOnionFields::spontaneous_empty();
    let onion = onion.with_custom_tlvs(records).unwrap();
    let attempt = scene.send_keysend(PREIMAGE, 50_000, onion);
    assert_eq!(scene.outcome(&attempt), Outcome::Settled);

    let [invoice] = &scene.receiver.invoices()[..] else {
        panic!("one invoice")
    };
    assert_eq!(invoice.kind, InvoiceKind::Keysend);
    assert_eq!(invoice.state, InvoiceState::Settled);
    let amounts = (invoice.value_msat, invoice.amt_paid_msat);
    assert_eq!(amounts, (50_000, 50_000));
    let [htlc] = &scene.receiver.htlcs_of_invoice(1)[..] else {
        panic!("one HTLC")
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
fn a_keysend_like_lnds_is_settled() {
    let scene = Scene::new();
    scene.assert_settles(&[keysend()]);
}

#[test]
fn it_is_refused_when_it_is_off() {
    let scene = Scene::with(Limits {
        accept_keysend: false,
        ..LIMITS
    });
    assert_refused(&scene, &[keysend()]);
}

#[test]
fn a_wrong_preimage_is_refused() {
    let scene = Scene::new();
    assert_refused(&scene, &[keysend().with_hash(PaymentHash([9; 32]))]);
}

/// LDK collects the parts and gives us the whole.
#[test]
fn it_is_refused_with_an_mpp_record() {
    let scene = Scene::new();
    assert_refused(&scene, &[with_mpp(50_000)]);
    let part = with_mpp(100_000);
    assert_refused(&scene, &[part.clone(), part]);
}

#[test]
fn it_is_paid_once() {
    let scene = Scene::new();
    scene.assert_settles(&[keysend()]);
    let again = scene.send(&keysend());
    assert_eq!(scene.outcome(&again), scene.refusal(&keysend()));
    assert_eq!(scene.receiver.htlcs_of_invoice(1).len(), 1);
}

#[test]
fn it_does_not_pay_an_invoice_of_ours_and_leaves_it_payable() {
    let scene = Scene::new();
    scene.receiver.add(NewInvoice {
        purpose: Purpose::Once {
            preimage: Some(PREIMAGE.0),
        },
        ..NewInvoice::default()
    });
    let refused = scene.send(&keysend());
    assert_eq!(scene.outcome(&refused), scene.refusal(&keysend()));
    scene.assert_settles(&[scene.ordinary(hash(), 50_000)]);
}

#[test]
fn it_is_settled_once_when_it_is_told_again_after_a_restart() {
    let mut scene = Scene::new();
    scene.receiver.forget_nothing.set(true);
    let attempt = scene.send(&keysend());
    scene.restart();
    scene.receiver.forget_nothing.set(false);
    scene.run();
    assert_eq!(scene.outcome(&attempt), Outcome::Settled);
    let invoices = scene.receiver.invoices();
    let indices: Vec<_> = invoices.iter().map(|i| i.settle_index).collect();
    assert_eq!(indices, [Some(1)]);
}
