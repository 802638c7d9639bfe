//! Hold invoices as seen by the payer: while held, when settled or canceled, and at the deadline.

use ampd::invoices::{NewInvoice, Purpose};
use ampd::model::htlc::HtlcState;
use ampd::model::invoice::{InvoiceRef, InvoiceState};
use lightning::types::payment::{PaymentHash, PaymentPreimage};

use crate::scene::*;
use crate::sender::{Outcome, Shard};

const PREIMAGE: PaymentPreimage = PaymentPreimage([5; 32]);
/// LDK fails an HTLC back this many blocks before its expiry.
const FAIL_BACK: u32 = 39;

fn hash() -> PaymentHash {
    PREIMAGE.into()
}

/// Creates a hold invoice with this CLTV delta and the two parts of a payment to it.
fn scene_with(cltv_delta: u64) -> (Scene, [Shard; 2]) {
    let scene = Scene::new();
    scene.receiver.add(NewInvoice {
        purpose: Purpose::Hold { hash: hash() },
        value_msat: 100_000,
        cltv_delta,
        ..NewInvoice::default()
    });
    let whole = scene.regular(hash(), 100_000);
    let parts = [whole.clone().amount(60_000), whole.amount(40_000)];
    (scene, parts)
}

fn scene() -> (Scene, [Shard; 2]) {
    scene_with(80)
}

fn states(scene: &Scene) -> (InvoiceState, Vec<HtlcState>) {
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
fn multi_part_payment_is_held_until_settled() {
    let (scene, parts) = scene();
    let first = scene.send(&parts[0]);
    assert_eq!(
        states(&scene),
        (InvoiceState::Open, vec![]),
        "LDK collects the parts"
    );
    let still_open = scene.receiver.settle_hold(PREIMAGE).unwrap_err();
    assert_eq!(still_open.to_string(), "invoice still open");
    let attempts = [first, scene.send(&parts[1])];
    assert_eq!(states(&scene), accepted());
    scene.mine(10);
    assert_eq!(scene.outcomes(&attempts), [Outcome::InFlight; 2]);

    scene.receiver.settle_hold(PREIMAGE).unwrap();
    scene.run();
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
    assert_eq!(states(&scene), settled());
    let htlcs = scene.receiver.htlcs_of_invoice(1);
    assert!(htlcs.iter().all(|htlc| htlc.claimed));
}

#[test]
fn canceling_fails_held_parts() {
    let (scene, parts) = scene();
    let attempts = scene.send_all(&parts);
    scene.receiver.cancel(&InvoiceRef::Hash(hash()));
    scene.run();
    assert_eq!(scene.outcome(&attempts[0]), scene.refusal(&parts[0]));
    assert_eq!(scene.outcome(&attempts[1]), scene.refusal(&parts[1]));
    assert_eq!(states(&scene), canceled());
}

#[test]
fn canceling_fails_parts_that_ldk_is_still_collecting() {
    let (scene, parts) = scene();
    let attempt = scene.send(&parts[0]);
    scene.receiver.cancel(&InvoiceRef::Hash(hash()));
    scene.run();
    assert_eq!(scene.outcome(&attempt), scene.refusal(&parts[0]));
    assert_eq!(states(&scene), (InvoiceState::Canceled, vec![]));
}

#[test]
fn payment_stays_held_across_a_restart() {
    let (mut scene, parts) = scene();
    let attempts = scene.send_all(&parts);
    scene.restart();
    assert_eq!(states(&scene), accepted());
    scene.receiver.settle_hold(PREIMAGE).unwrap();
    scene.restart();
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
    assert_eq!(states(&scene), settled());
}

/// LDK fails back one part at a time; claiming the rest after that has no effect.
#[test]
fn all_parts_fail_at_the_claim_deadline_of_one() {
    let (scene, [first, second]) = scene();
    let parts = [first.expiring_in(90), second.expiring_in(140)];
    let attempts = scene.send_all(&parts);
    scene.mine(90 - FAIL_BACK - 1);
    assert_eq!(states(&scene), accepted());
    let late = scene.receiver.settle_hold(PREIMAGE).unwrap_err();
    assert!(late.to_string().contains("too late"), "{late}");
    scene.mine(1);
    assert_eq!(states(&scene), canceled());
    assert_eq!(scene.outcome(&attempts[0]), scene.refusal(&parts[0]));
    assert_eq!(scene.outcome(&attempts[1]), scene.refusal(&parts[1]));
    let canceled = scene.receiver.settle_hold(PREIMAGE).unwrap_err();
    assert_eq!(canceled.to_string(), "invoice already canceled");
}

#[test]
fn can_be_settled_until_two_blocks_before_the_claim_deadline() {
    let (scene, [first, second]) = scene();
    let attempts = scene.send_all(&[first.expiring_in(90), second.expiring_in(140)]);
    scene.mine(90 - FAIL_BACK - 2);
    scene.receiver.settle_hold(PREIMAGE).unwrap();
    scene.run();
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
    assert_eq!(states(&scene), settled());
}

/// Any forwarding node knows the payment hash.
#[test]
fn another_htlc_with_the_same_hash_is_refused_without_failing_the_held_parts() {
    let (scene, parts) = scene();
    let attempts = scene.send_all(&parts);
    for blocks in [10, 100] {
        let other = parts[0].clone().expiring_in(blocks);
        let refused = scene.send(&other);
        assert_eq!(scene.outcome(&refused), scene.refusal(&other));
    }
    assert_eq!(states(&scene), accepted());
    scene.receiver.settle_hold(PREIMAGE).unwrap();
    scene.run();
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
}

#[test]
fn rejects_low_totals_and_early_expiries() {
    let (scene, [part, _]) = scene_with(80);
    for wrong in [
        part.clone().total(60_000),
        part.amount(100_000).expiring_in(79),
    ] {
        let refused = scene.send(&wrong);
        assert_eq!(scene.outcome(&refused), scene.refusal(&wrong));
    }
    assert_eq!(states(&scene), (InvoiceState::Open, vec![]));
}
