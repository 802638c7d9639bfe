//! What happens in a round, decided by the seed alone.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use super::NODES;

/// A round: who dies, when, for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One of them, two, or all.
    pub victims: Vec<&'static str>,
    /// Load runs so long before the kill.
    pub kill_after: Duration,
    /// The victims stay dead so long.
    pub down_for: Duration,
    /// Load goes on so long after the restart.
    pub more_load: Duration,
    /// Seeds the payments.
    pub load_seed: u64,
}

impl Plan {
    /// The plan of a round, always the same for the same seed.
    pub fn of(seed: u64, round: u32) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(u64::from(round)));
        let mut millis = |range| Duration::from_millis(rng.u64(range));
        let (kill_after, down_for) = (millis(100..2_500), millis(0..500));
        let more_load = millis(0..1_500);
        // Mostly one, now and then several at once.
        let count = [1, 1, 1, 2, 2, 3][rng.usize(..6)];
        let victims = rng.choose_multiple(NODES, count);
        Self {
            victims,
            kill_after,
            down_for,
            more_load,
            load_seed: rng.u64(..),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!(
            "kill {} after {:?}",
            self.victims.join("+"),
            self.kill_after
        );
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_rounds_and_another_gives_others() {
        let rounds = |seed| {
            (0..50)
                .map(|round| Plan::of(seed, round))
                .collect::<Vec<_>>()
        };
        assert_eq!(rounds(1), rounds(1));
        assert_ne!(rounds(1), rounds(2));
    }

    #[test]
    fn every_node_dies_alone_and_in_company() {
        let plans = (0..200).map(|round| Plan::of(7, round).victims);
        let sets: BTreeSet<Vec<_>> = plans
            .map(|mut victims| {
                victims.sort_unstable();
                victims
            })
            .collect();
        // All subsets of three but the empty one.
        assert_eq!(sets.len(), 7);
    }
}
