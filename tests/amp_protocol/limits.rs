//! Limits on the HTLCs held for unknown payers. A shard that completes its set is not held.

use ampd::invoices::Limits;
use ldk_amp::{PaymentAddr, SetLimits};

use crate::scene::*;
use crate::sender::{Outcome, Shard, shards};

const ADDR: PaymentAddr = PaymentAddr::from_bytes([7; 32]);

fn halves(number: u8) -> Vec<Shard> {
    shards(set(number), ADDR, &[6_000, 4_000])
}

#[test]
fn shards_per_set_are_limited() {
    let scene = Scene::with(Limits {
        set: SetLimits {
            max_htlcs: 3,
            ..LIMITS.set
        },
        ..LIMITS
    });
    let shards = shards(set(1), ADDR, &[10_000; 5]);
    let attempts = scene.send_all(&shards[..3]);
    scene.assert_refused_and_not_stored(&shards[3], "one more");
    assert_eq!(scene.outcomes(&attempts), [Outcome::InFlight; 3]);
    assert_eq!(scene.stored_set(set(1)), held(30_000, 3));
}

#[test]
fn incomplete_sets_are_limited() {
    let scene = Scene::with(Limits {
        max_open_sets: 2,
        ..LIMITS
    });
    for number in [1, 2] {
        scene.send(&halves(number)[0]);
    }
    scene.assert_refused_and_not_stored(&halves(3)[0], "one more");
    scene.assert_settles(&shards(set(4), ADDR, &[10_000]));
    scene.send(&halves(1)[1]);
    assert_eq!(scene.stored_set(set(1)), settled(10_000, 2));
    let third = scene.send(&halves(3)[0]);
    assert_eq!(scene.outcome(&third), Outcome::InFlight);
}

#[test]
fn held_shards_per_channel_are_limited() {
    let scene = Scene::with(Limits {
        max_held_per_channel: 2,
        ..LIMITS
    });
    for number in [1, 2] {
        scene.send(&halves(number)[0]);
    }
    let more = shards(set(1), ADDR, &[6_000, 2_000, 2_000]).remove(1);
    scene.assert_refused_and_not_stored(&more, "one more shard of a held set");
    scene.assert_refused_and_not_stored(&halves(3)[0], "a shard of a new set");
    scene.send(&halves(1)[1]);
    assert_eq!(scene.stored_set(set(1)), settled(10_000, 2));
}
