//! What we hold for strangers is bounded; what completes a set is not held.

use ldk_amp::{PaymentAddr, SetLimits};
use ampd::invoices::Limits;

use crate::scene::*;
use crate::sender::{Outcome, Shard, shards};

const ADDR: PaymentAddr = PaymentAddr::from_bytes([7; 32]);

fn halves(number: u8) -> Vec<Shard> {
    shards(set(number), ADDR, &[6_000, 4_000])
}

#[test]
fn a_set_has_as_many_shards_as_the_limit_says() {
    let scene = Scene::with(Limits {
        set: SetLimits {
            max_htlcs: 3,
            ..LIMITS.set
        },
        ..LIMITS
    });
    let shards = shards(set(1), ADDR, &[10_000; 5]);
    let attempts = scene.send_all(&shards[..3]);
    scene.assert_refused_without_trace(&shards[3], "one more");
    assert_eq!(scene.outcomes(&attempts), [Outcome::InFlight; 3]);
    assert_eq!(scene.books(set(1)), held(30_000, 3));
}

#[test]
fn as_many_incomplete_sets_are_held_as_the_limit_says() {
    let scene = Scene::with(Limits {
        max_open_sets: 2,
        ..LIMITS
    });
    for number in [1, 2] {
        scene.send(&halves(number)[0]);
    }
    scene.assert_refused_without_trace(&halves(3)[0], "one more");
    scene.assert_settles(&shards(set(4), ADDR, &[10_000]));
    scene.send(&halves(1)[1]);
    assert_eq!(scene.books(set(1)), settled(10_000, 2));
    let third = scene.send(&halves(3)[0]);
    assert_eq!(scene.outcome(&third), Outcome::InFlight);
}

#[test]
fn as_many_shards_are_held_on_a_channel_as_the_limit_says() {
    let scene = Scene::with(Limits {
        max_held_per_channel: 2,
        ..LIMITS
    });
    for number in [1, 2] {
        scene.send(&halves(number)[0]);
    }
    let more = shards(set(1), ADDR, &[6_000, 2_000, 2_000]).remove(1);
    scene.assert_refused_without_trace(&more, "one more of a set");
    scene.assert_refused_without_trace(&halves(3)[0], "one of a new set");
    scene.send(&halves(1)[1]);
    assert_eq!(scene.books(set(1)), settled(10_000, 2));
}
