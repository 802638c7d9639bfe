//! Events of a payment in any order.
//!
//! The receiver is honest: it settles all HTLCs of a complete set, and no others. Everything else
//! is arbitrary: which HTLCs fail and when, the amounts of the routes found, restarts that lose
//! unsent HTLCs, failures from the receiver, the timeout, and cancellation.

use lightning_types::payment::PaymentPreimage;
use proptest::prelude::*;

use super::*;
use ldk_amp::Child;

const AMOUNT: u64 = 100;
const FEE_LIMIT: u64 = 35;
/// The fee of a path (see [`super::send`]).
const FEE: u64 = 10;

#[derive(Debug, Clone)]
enum Act {
    /// The router finds a path for at most this amount.
    Send(u64),
    /// One of the HTLCs in flight fails.
    Fail(usize),
    /// The same, with a failure from the receiver.
    Refuse(usize),
    /// The receiver has the complete set and claims one of its HTLCs.
    Settle(usize),
    /// A restart; the HTLCs in flight whose bit is set were never sent.
    Restart(u8),
    /// The timeout.
    Late,
    Cancel,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (1..60u64).prop_map(Act::Send),
        6 => (0..4usize).prop_map(Act::Fail),
        1 => (0..4usize).prop_map(Act::Refuse),
        4 => (0..4usize).prop_map(Act::Settle),
        2 => any::<u8>().prop_map(Act::Restart),
        1 => Just(Act::Late),
        1 => Just(Act::Cancel),
    ];
    proptest::collection::vec(act, 1..60)
}

/// A payment, the time, and the receiver's actions.
struct World {
    lifecycle: Lifecycle,
    now: u64,
    next_id: u64,
    is_claimed: bool,
}

impl World {
    fn new() -> Self {
        let mut lifecycle = amp(AMOUNT);
        lifecycle.record.terms.fee_limit_msat = FEE_LIMIT;
        Self {
            lifecycle,
            now: 0,
            next_id: 0,
            is_claimed: false,
        }
    }

    fn happen(&mut self, act: &Act) {
        match act {
            Act::Send(most) => self.send(*most),
            Act::Fail(n) => self.fail(*n, None),
            Act::Refuse(n) => self.fail(*n, refusal()),
            Act::Settle(n) => self.settle(*n),
            Act::Restart(lost) => self.restart(*lost),
            Act::Late => self.now = DEADLINE,
            Act::Cancel => {
                self.lifecycle.give_up(FailureReason::Canceled);
            }
        }
    }

    fn send(&mut self, most: u64) {
        let Step::Send(open) = self.lifecycle.step(self.now) else {
            return;
        };
        assert!(!self.is_claimed, "sent after a claim");
        assert!(self.now < DEADLINE, "sent after the timeout");
        assert_eq!(self.lifecycle.record.failure_reason, FailureReason::None);
        if open.fee_limit_msat < FEE {
            self.lifecycle.give_up(FailureReason::NoRoute);
            return;
        }
        let amount = match open.parts {
            1 => open.amount_msat,
            _ => most.min(open.amount_msat),
        };
        self.next_id += 1;
        super::send(&mut self.lifecycle, self.next_id, amount);
    }

    fn in_flight(&self) -> Vec<u64> {
        let attempts = self.lifecycle.attempts.iter();
        let in_flight = attempts.filter(|a| a.state == AttemptState::InFlight);
        in_flight.map(|a| a.attempt_id).collect()
    }

    fn fail(&mut self, n: usize, failure: Option<AttemptFailure>) {
        if let Some(id) = self.in_flight().get(n)
            && !self.is_claimed
        {
            assert!(self.lifecycle.failed(*id, failure, 0).is_some());
        }
    }

    fn settle(&mut self, n: usize) {
        if self.lifecycle.open_msat() > 0 && !self.is_claimed {
            return;
        }
        if let Some(id) = self.in_flight().get(n) {
            self.is_claimed = true;
            assert!(
                self.lifecycle
                    .settled(*id, PaymentPreimage([1; 32]), 0)
                    .is_some()
            );
        }
    }

    /// HTLCs that the receiver has claimed were sent.
    fn restart(&mut self, lost: u8) {
        self.lifecycle = Lifecycle::restore(
            self.lifecycle.record.clone(),
            self.lifecycle.attempts.clone(),
        );
        for (n, id) in self.in_flight().into_iter().enumerate() {
            if lost & (1 << (n % 8)) != 0 && !self.is_claimed {
                self.lifecycle.failed(id, None, 0).unwrap();
            }
        }
    }

    fn check(&self) {
        let live: Vec<_> = live(&self.lifecycle).collect();
        let sum: u64 = live.iter().map(|a| a.amount_msat()).sum();
        let fees: u64 = live.iter().map(|a| a.fee_msat()).sum();
        assert!(sum <= AMOUNT, "must not exceed the amount");
        assert!(fees <= FEE_LIMIT);
        assert!(live.len() <= self.lifecycle.record.terms.max_parts as usize);
        let attempts = self.lifecycle.attempts.iter();
        let mut hashes: Vec<_> = attempts.map(|a| a.payment_hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(
            hashes.len(),
            self.lifecycle.attempts.len(),
            "each attempt must have its own hash"
        );
        if self.lifecycle.open_msat() == 0 {
            assert!(
                reconstructs(&self.lifecycle),
                "the receiver must be able to reconstruct the root"
            );
        }
    }

    /// Runs everything that remains to be done.
    fn run_to_the_end(&mut self) -> Ending {
        loop {
            self.check();
            match self.lifecycle.step(self.now) {
                Step::End(ending) => return ending,
                Step::Send(_) => self.send(60),
                Step::Wait if self.lifecycle.open_msat() == 0 || self.is_claimed => self.settle(0),
                // The receiver times out.
                Step::Wait => self.fail(0, None),
            }
        }
    }
}

proptest! {
    #[test]
    fn payments_settle_or_fail_atomically(acts in acts()) {
        let mut world = World::new();
        for act in &acts {
            if let Step::End(_) = world.lifecycle.step(world.now) {
                break;
            }
            world.happen(act);
            world.check();
        }
        let ending = world.run_to_the_end();
        prop_assert!(world.in_flight().is_empty());
        let settled: u64 = live(&world.lifecycle).map(AttemptRecord::amount_msat).sum();
        match ending {
            Ending::Succeeded => prop_assert_eq!((settled, world.is_claimed), (AMOUNT, true)),
            Ending::Failed(_) => prop_assert_eq!((settled, world.is_claimed), (0, false)),
        }
        world.lifecycle.end(ending);
        prop_assert!(world.lifecycle.record.root.is_none());
    }
}

/// In flight or settled.
fn live(lifecycle: &Lifecycle) -> impl Iterator<Item = &AttemptRecord> {
    lifecycle
        .attempts
        .iter()
        .filter(|a| a.state != AttemptState::Failed)
}

fn reconstructs(lifecycle: &Lifecycle) -> bool {
    let shards: Vec<_> = live(lifecycle)
        .map(|a| (a.payment_hash, a.shard.clone().unwrap()))
        .collect();
    let shares = shards
        .iter()
        .map(|(_, (share, _))| Share::from_bytes(**share));
    let root = shares.fold(Share::ZERO, |sum, share| sum.xor(&share));
    root == Share::from_bytes([9; 32])
        && shards.iter().all(|(hash, (share, index))| {
            let child = Child::derive(&root, &Share::from_bytes(**share), *index);
            child.hash == *hash
        })
}
