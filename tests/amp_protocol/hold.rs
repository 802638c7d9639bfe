//! Hold invoices: what the payer sees while their maker decides, and when time is up.

use ampd::invoices::{InvoiceRef, NewInvoice, Purpose};
use ampd::storage::invoices::{HtlcState, InvoiceState};
use lightning::types::payment::{PaymentHash, PaymentPreimage};

use crate::scene::*;
use crate::sender::{Outcome, Shard};

const PREIMAGE: PaymentPreimage = PaymentPreimage([5; 32]);
/// LDK gives an HTLC back so many blocks before its expiry.
const FAIL_BACK: u32 = 39;

fn hash() -> PaymentHash {
    PREIMAGE.into()
}

/// A hold invoice with this cltv_expiry, and the two parts of a payment to it.
fn scene_with(cltv_delta: u64) -> (Scene, [Shard; 2]) {
    let scene = Scene::new();
    scene.receiver.add(NewInvoice {
        purpose: Purpose::Hold { hash: hash().0 },
        value_msat: 100_000,
        cltv_delta,
        ..NewInvoice::default()
    });
    let whole = scene.ordinary(hash(), 100_000);
    let parts = [whole.clone().amount(60_000), whole.amount(40_000)];
    (scene, parts)
}

fn scene() -> (Scene, [Shard; 2]) {
    scene_with(80)
}

fn books(scene: &Scene) -> (InvoiceState, Vec<HtlcState>) {
    let htlcs = scene.receiver.htlcs_of_invoice(1);
    let states = htlcs.iter().map(|htlc| htlc.state).collect();
    (scene.receiver.invoices()[0].state, states)
}

fn accepted() -> (InvoiceState, Vec<HtlcState>) {
    (InvoiceState::Accepted, vec![HtlcState::Accepted; 2])
}

fn settled() -> (InvoiceState, Vec<HtlcState>) {
    (InvoiceState::Settled, vec![HtlcState::Settled; 2])
}

fn canceled() -> (InvoiceState, Vec<HtlcState>) {
    (InvoiceState::Canceled, vec![HtlcState::Canceled; 2])
}

#[test]
fn a_payment_in_parts_is_held_until_its_preimage_comes() {
    let (scene, parts) = scene();
    let first = scene.send(&parts[0]);
    assert_eq!(books(&scene), (InvoiceState::Open, vec![]), "LDK collects");
    let still_open = scene.receiver.settle_hold(PREIMAGE).unwrap_err();
    assert_eq!(still_open.to_string(), "invoice still open");
    let attempts = [first, scene.send(&parts[1])];
    assert_eq!(books(&scene), accepted());
    scene.mine(10);
    assert_eq!(scene.outcomes(&attempts), [Outcome::InFlight; 2]);

    scene.receiver.settle_hold(PREIMAGE).unwrap();
    scene.run();
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
    assert_eq!(books(&scene), settled());
    let htlcs = scene.receiver.htlcs_of_invoice(1);
    assert!(htlcs.iter().all(|htlc| htlc.claimed));
}

#[test]
fn a_canceled_one_is_refused() {
    let (scene, parts) = scene();
    let attempts = scene.send_all(&parts);
    scene.receiver.cancel(&InvoiceRef::Hash(hash().0));
    scene.run();
    assert_eq!(scene.outcome(&attempts[0]), scene.refusal(&parts[0]));
    assert_eq!(scene.outcome(&attempts[1]), scene.refusal(&parts[1]));
    assert_eq!(books(&scene), canceled());
}

#[test]
fn parts_that_ldk_collects_go_back_when_it_is_canceled() {
    let (scene, parts) = scene();
    let attempt = scene.send(&parts[0]);
    scene.receiver.cancel(&InvoiceRef::Hash(hash().0));
    scene.run();
    assert_eq!(scene.outcome(&attempt), scene.refusal(&parts[0]));
    assert_eq!(books(&scene), (InvoiceState::Canceled, vec![]));
}

#[test]
fn it_is_held_over_a_restart() {
    let (mut scene, parts) = scene();
    let attempts = scene.send_all(&parts);
    scene.restart();
    assert_eq!(books(&scene), accepted());
    scene.receiver.settle_hold(PREIMAGE).unwrap();
    scene.restart();
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
    assert_eq!(books(&scene), settled());
}

/// LDK gives back one part at a time; claimed then, the others would be lost.
#[test]
fn at_the_claim_deadline_of_one_part_all_go_back() {
    let (scene, [first, second]) = scene();
    let parts = [first.expiring_in(90), second.expiring_in(140)];
    let attempts = scene.send_all(&parts);
    scene.mine(90 - FAIL_BACK - 1);
    assert_eq!(books(&scene), accepted());
    let late = scene.receiver.settle_hold(PREIMAGE).unwrap_err();
    assert!(late.to_string().contains("too late"), "{late}");
    scene.mine(1);
    assert_eq!(books(&scene), canceled());
    assert_eq!(scene.outcome(&attempts[0]), scene.refusal(&parts[0]));
    assert_eq!(scene.outcome(&attempts[1]), scene.refusal(&parts[1]));
    let canceled = scene.receiver.settle_hold(PREIMAGE).unwrap_err();
    assert_eq!(canceled.to_string(), "invoice already canceled");
}

#[test]
fn two_blocks_before_the_claim_deadline_it_can_still_be_settled() {
    let (scene, [first, second]) = scene();
    let attempts = scene.send_all(&[first.expiring_in(90), second.expiring_in(140)]);
    scene.mine(90 - FAIL_BACK - 2);
    scene.receiver.settle_hold(PREIMAGE).unwrap();
    scene.mine(10);
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
    assert_eq!(books(&scene), settled());
}

/// Whoever forwards the payment knows its hash.
#[test]
fn another_htlc_with_its_hash_is_refused_and_does_no_harm() {
    let (scene, parts) = scene();
    let attempts = scene.send_all(&parts);
    for blocks in [10, 100] {
        let stranger = parts[0].clone().expiring_in(blocks);
        let refused = scene.send(&stranger);
        assert_eq!(scene.outcome(&refused), scene.refusal(&stranger));
    }
    assert_eq!(books(&scene), accepted());
    scene.receiver.settle_hold(PREIMAGE).unwrap();
    scene.run();
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
}

#[test]
fn what_does_not_fit_the_invoice_is_refused() {
    let (scene, [part, _]) = scene_with(80);
    for wrong in [
        part.clone().total(60_000),
        part.amount(100_000).expiring_in(79),
    ] {
        let refused = scene.send(&wrong);
        assert_eq!(scene.outcome(&refused), scene.refusal(&wrong));
    }
    assert_eq!(books(&scene), (InvoiceState::Open, vec![]));
}
