//! LDK has one payment per hash, and every shard is one: what happens when two have the same.

use ldk_amp::PaymentAddr;
use ampd::invoices::NewInvoice;
use ampd::storage::invoices::InvoiceState;
use lightning::types::payment::PaymentHash;

use crate::scene::*;
use crate::sender::{Outcome, shards};

const ADDR: PaymentAddr = PaymentAddr::from_bytes([7; 32]);

#[test]
fn a_shard_with_the_hash_of_an_invoice_of_ours_is_refused_and_does_not_block_it() {
    let scene = Scene::new();
    let invoice = scene.receiver.add(NewInvoice {
        value_msat: 50_000,
        ..NewInvoice::default()
    });
    let hash = PaymentHash(invoice.payment_hash);
    let half = shards(set(1), ADDR, &[60_000, 40_000])
        .remove(0)
        .with_hash(hash);
    scene.assert_refused_without_trace(&half, "it would be held");
    let whole = shards(set(1), ADDR, &[60_000]).remove(0).with_hash(hash);
    scene.assert_refused_without_trace(&whole, "it would complete its set");

    scene.assert_settles(&[scene.ordinary(hash, 50_000)]);
    let [paid] = &scene.receiver.invoices()[..] else {
        panic!("one invoice")
    };
    assert_eq!(
        (paid.state, paid.amt_paid_msat),
        (InvoiceState::Settled, 50_000)
    );
}

/// lnd settles both. LDK refuses the second by itself, so the set waits for its timeout.
#[test]
fn a_second_shard_with_the_hash_of_a_held_one_is_refused_alone() {
    let scene = Scene::new();
    let shards = shards(set(1), ADDR, &[40_000, 60_000]);
    let first = scene.send(&shards[0]);
    let twin = scene.send(&shards[0]);
    assert_eq!(scene.outcome(&twin), scene.refusal(&shards[0]));
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    assert_eq!(scene.books(set(1)), held(40_000, 1));
    scene.at(u64::MAX);
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
    assert_eq!(scene.books(set(1)), canceled(1));
}

/// Whoever forwards a shard knows its hash. That must not be enough to make us refuse the shard in
/// our own name, which ends the payment for its payer.
#[test]
fn another_htlc_with_the_hash_of_a_held_shard_does_no_harm() {
    let scene = Scene::with_two_payers();
    let shards = shards(set(1), ADDR, &[40_000, 60_000]);
    let first = scene.send(&shards[0]);
    let stranger = scene.ordinary(shards[0].hash, 1_000);
    for blocks in [10, 100] {
        let stranger = stranger.clone().expiring_in(blocks);
        let refused = scene.send_from(1, &stranger);
        assert_eq!(scene.outcome(&refused), scene.refusal(&stranger));
    }
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    let second = scene.send(&shards[1]);
    assert_eq!(scene.outcomes(&[first, second]), [Outcome::Settled; 2]);
}
