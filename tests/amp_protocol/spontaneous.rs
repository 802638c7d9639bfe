//! Spontaneous AMP payments (without an invoice).

use std::collections::BTreeMap;

use ampd::invoices::Limits;
use ampd::model::invoice::{InvoiceKind, InvoiceState};
use ldk_amp::PaymentAddr;

use crate::scene::*;
use crate::sender::{Outcome, shards};

const ADDR: PaymentAddr = PaymentAddr::from_bytes([7; 32]);

#[test]
fn first_shard_creates_an_invoice_that_the_last_one_pays() {
    let scene = Scene::new();
    let shards = shards(set(1), ADDR, &[60_000, 40_000]);
    scene.send(&shards[0]);
    let [invoice] = &scene.receiver.invoices()[..] else {
        panic!("expected one invoice")
    };
    assert_eq!(invoice.kind, InvoiceKind::SpontaneousAmp);
    assert_eq!(invoice.payment_hash, shards[0].hash, "as in lnd");
    assert_eq!(invoice.payment_addr, ADDR);
    assert_eq!((invoice.value_msat, invoice.amt_paid_msat), (100_000, 0));
    assert_eq!(invoice.terms.cltv_delta, 19, "as in lnd");

    scene.send(&shards[1]);
    let [invoice] = &scene.receiver.invoices()[..] else {
        panic!("expected one invoice")
    };
    assert_eq!(invoice.amt_paid_msat, 100_000);
    assert_eq!(invoice.state, InvoiceState::Open);
    assert_eq!(scene.stored_set(set(1)), settled(100_000, 2));
}

#[test]
fn rejects_spontaneous_payments_without_accept_amp() {
    let scene = Scene::with(Limits {
        accept_amp: false,
        ..LIMITS
    });
    let shards = shards(set(1), ADDR, &[60_000, 40_000]);
    scene.assert_refused_and_not_stored(&shards[0], "half a set");
    scene.assert_refused_and_not_stored(&shards[0].clone().total(60_000), "a whole set");
}

#[test]
fn paid_payment_address_accepts_the_same_total_or_more_but_not_less() {
    let scene = Scene::new();
    scene.assert_settles(&shards(set(1), ADDR, &[60_000, 40_000]));
    let less = shards(set(2), ADDR, &[99_999]).remove(0);
    scene.assert_refused_and_not_stored(&less, "a smaller total");
    scene.assert_settles(&shards(set(3), ADDR, &[100_000]));
    scene.assert_settles(&shards(set(4), ADDR, &[100_000, 50_000]));
    let [invoice] = &scene.receiver.invoices()[..] else {
        panic!("expected one invoice")
    };
    assert_eq!(invoice.value_msat, 100_000, "the first payment's total");
    assert_eq!(invoice.amt_paid_msat, 350_000);
}

/// lnd's limit is 19 blocks. LDK is stricter: it refuses HTLCs that expire in fewer than 41 blocks.
#[test]
fn rejects_expiries_below_ldks_minimum() {
    let scene = Scene::new();
    let shard = shards(set(1), ADDR, &[60_000, 40_000]).remove(0);
    for blocks in [5, 18, 19, 40] {
        let shard = shard.clone().expiring_in(blocks);
        scene.assert_refused_and_not_stored(&shard, &format!("{blocks} blocks"));
    }
    let just_enough = scene.send(&shard.expiring_in(41));
    assert_eq!(scene.outcome(&just_enough), Outcome::InFlight);
}

#[test]
fn custom_records_including_a_keysend_record_are_stored() {
    let scene = Scene::new();
    let long = [5; 200];
    let chat = (34_349_334, &b"for you"[..]);
    let shard = shards(set(1), ADDR, &[50_000])
        .remove(0)
        .with_record(chat.0, chat.1)
        .with_record(65_536, &[])
        .with_record(700_001, &long)
        .with_record(5_482_373_484, &[9; 32]);
    scene.assert_settles(&[shard]);
    let htlc = scene.receiver.htlcs(set(1)).remove(0);
    let sent = BTreeMap::from([
        (chat.0, chat.1.to_vec()),
        (65_536, vec![]),
        (700_001, long.to_vec()),
        (5_482_373_484, vec![9; 32]),
    ]);
    assert_eq!(htlc.custom_records, sent);
}
