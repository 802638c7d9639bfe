//! Shards and payments with the same payment hash. To LDK every shard is a payment, and it allows one payment
//! per hash.

use ampd::invoices::NewInvoice;
use ampd::model::invoice::InvoiceState;
use ldk_amp::PaymentAddr;

use crate::scene::*;
use crate::sender::{Outcome, shards};

const ADDR: PaymentAddr = PaymentAddr::from_bytes([7; 32]);

#[test]
fn rejects_a_shard_with_an_invoices_hash_without_blocking_the_invoice() {
    let scene = Scene::new();
    let invoice = scene.receiver.add(NewInvoice {
        value_msat: 50_000,
        ..NewInvoice::default()
    });
    let hash = invoice.payment_hash;
    let half = shards(set(1), ADDR, &[60_000, 40_000])
        .remove(0)
        .with_hash(hash);
    scene.assert_refused_and_not_stored(&half, "it would be held");
    let whole = shards(set(1), ADDR, &[60_000]).remove(0).with_hash(hash);
    scene.assert_refused_and_not_stored(&whole, "it would complete its set");

    scene.assert_settles(&[scene.regular(hash, 50_000)]);
    let [paid] = &scene.receiver.invoices()[..] else {
        panic!("expected one invoice")
    };
    assert_eq!(
        (paid.state, paid.amt_paid_msat),
        (InvoiceState::Settled, 50_000)
    );
}

/// lnd settles both. LDK refuses the second one itself, so the set stays held until it times out.
#[test]
fn second_shard_with_the_hash_of_a_held_one_is_refused_alone() {
    let scene = Scene::new();
    let shards = shards(set(1), ADDR, &[40_000, 60_000]);
    let first = scene.send(&shards[0]);
    let twin = scene.send(&shards[0]);
    assert_eq!(scene.outcome(&twin), scene.refusal(&shards[0]));
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    assert_eq!(scene.stored_set(set(1)), held(40_000, 1));
    scene.expire_sets_at(u64::MAX);
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
    assert_eq!(scene.stored_set(set(1)), canceled(1));
}

/// Any forwarding node knows a shard's hash. That must not be enough to make us refuse the shard, which
/// would end the payment for its payer.
#[test]
fn another_htlc_with_the_hash_of_a_held_shard_does_not_fail_the_shard() {
    let scene = Scene::with_two_payers();
    let shards = shards(set(1), ADDR, &[40_000, 60_000]);
    let first = scene.send(&shards[0]);
    let other = scene.regular(shards[0].hash, 1_000);
    for blocks in [10, 100] {
        let other = other.clone().expiring_in(blocks);
        let refused = scene.send_from(1, &other);
        assert_eq!(scene.outcome(&refused), scene.refusal(&other));
    }
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    let second = scene.send(&shards[1]);
    assert_eq!(scene.outcomes(&[first, second]), [Outcome::Settled; 2]);
}
