//! Replayed events and restarts: an HTLC gets the same answer as before.

use ampd::model::htlc::HtlcState;
use ampd::storage::Change;
use ampd::storage::invoices::{PutHtlc, PutSet};
use ldk_amp::{Child, PaymentAddr, Share};
use lightning::ln::channelmanager::PaymentId;

use crate::scene::*;
use crate::sender::{Outcome, Shard, shards};

const ADDR: PaymentAddr = PaymentAddr::from_bytes([7; 32]);

/// Sends the shard to a receiver that stops after handling the event but before LDK drops it.
fn send_and_stop(scene: &mut Scene, shard: &Shard) -> PaymentId {
    scene.receiver.keep_events.set(true);
    let attempt = scene.send(shard);
    scene.restart();
    attempt
}

/// Lets LDK drop handled events again.
fn resume(scene: &Scene) {
    scene.receiver.keep_events.set(false);
    scene.run();
}

#[test]
fn replayed_held_shard_stays_held_with_its_original_time() {
    let mut scene = Scene::new();
    let shards = shards(set(1), ADDR, &[60_000, 40_000]);
    let first = send_and_stop(&mut scene, &shards[0]);
    let mut row = scene.receiver.htlcs(set(1)).remove(0);
    row.accepted_at -= 60;
    let due = row.accepted_at + 120;
    scene.receiver.restart_after(vec![Box::new(PutHtlc(row))]);
    scene.run();
    resume(&scene);
    assert_eq!(
        scene.stored_set(set(1)),
        held(60_000, 1),
        "counted only once"
    );
    scene.expire_sets_at(due - 1);
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    scene.expire_sets_at(due);
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
}

#[test]
fn replayed_settled_shard_is_claimed_again_and_counts_once() {
    let mut scene = Scene::new();
    let shards = shards(set(1), ADDR, &[60_000, 40_000]);
    let first = scene.send(&shards[0]);
    let second = send_and_stop(&mut scene, &shards[1]);
    resume(&scene);
    assert_eq!(scene.outcomes(&[first, second]), [Outcome::Settled; 2]);
    assert_eq!(scene.stored_set(set(1)), settled(100_000, 2));
    assert_eq!(scene.receiver.set(set(1)).unwrap().settle_index, Some(1));
    assert_eq!(scene.receiver.invoices()[0].amt_paid_msat, 100_000);
}

#[test]
fn replayed_timed_out_shard_fails_again() {
    let mut scene = Scene::new();
    let shards = shards(set(1), ADDR, &[60_000, 40_000]);
    let first = send_and_stop(&mut scene, &shards[0]);
    scene.expire_sets_at(u64::MAX);
    scene.restart();
    resume(&scene);
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
    assert_eq!(scene.stored_set(set(1)), canceled(1));
}

#[test]
fn replayed_refused_shard_is_refused_again() {
    let mut scene = Scene::new();
    let shard = shards(set(1), ADDR, &[60_000]).remove(0).with_wrong_share();
    let attempt = send_and_stop(&mut scene, &shard);
    resume(&scene);
    assert_eq!(scene.outcome(&attempt), scene.refusal(&shard));
    assert!(scene.receiver.htlcs(set(1)).is_empty());
}

#[test]
fn incomplete_set_survives_restarts_and_is_completed() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[60_000, 30_000, 10_000]);
    let mut attempts = Vec::new();
    for shard in &shards {
        attempts.push(scene.send(shard));
        scene.restart();
    }
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 3]);
    assert_eq!(scene.stored_set(set(1)), settled(100_000, 3));
}

/// The receiver stopped after the decision was on disk but before it reached LDK.
#[test]
fn set_settled_before_a_crash_is_claimed_after_it() {
    let mut scene = Scene::new();
    let shards = shards(set(1), ADDR, &[60_000, 30_000, 10_000]);
    let attempts = scene.send_all(&shards[..2]);
    let mut set_row = scene.receiver.set(set(1)).unwrap();
    (set_row.state, set_row.settle_index) = (HtlcState::Settled, Some(1));
    let mut decision: Vec<Box<dyn Change>> = vec![Box::new(PutSet(set_row))];
    let root = shards
        .iter()
        .fold(Share::ZERO, |root, shard| root.xor(shard.share()));
    for (mut row, shard) in scene.receiver.htlcs(set(1)).into_iter().zip(&shards) {
        let index = shard.amp.as_ref().unwrap().child_index;
        let child = Child::derive(&root, shard.share(), index);
        (row.state, row.preimage) = (HtlcState::Settled, Some(child.preimage));
        decision.push(Box::new(PutHtlc(row)));
    }
    scene.receiver.restart_after(decision);
    scene.run();
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
    let htlcs = scene.receiver.htlcs(set(1));
    assert!(htlcs.iter().all(|htlc| htlc.claimed));
}

/// As above, but the decision was to fail the shard back.
#[test]
fn shard_canceled_before_a_crash_is_failed_after_it() {
    let mut scene = Scene::new();
    let shards = shards(set(1), ADDR, &[60_000, 40_000]);
    let attempt = scene.send(&shards[0]);
    let mut row = scene.receiver.htlcs(set(1)).remove(0);
    row.state = HtlcState::Canceled;
    scene.receiver.restart_after(vec![Box::new(PutHtlc(row))]);
    scene.run();
    assert_eq!(scene.outcome(&attempt), scene.refusal(&shards[0]));
}
