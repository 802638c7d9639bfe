//! The plan of a round, determined by the seed alone.

use std::fmt;
use std::iter::once;
use std::time::Duration;

use crash_points::Point;
use fastrand::Rng;

use super::NODES;

/// Senders of the load, and their counterparties across Carol's channels.
const SENDERS: [(&str, &str); 2] = [("alice", "bob"), ("bob", "alice")];

/// Excludes [`Point::BeforeClaimed`]: after a restart LDK repeats events of claims, so how often it is
/// passed is not predictable.
const COUNTABLE: [Point; 5] = [
    Point::BeforeStored,
    Point::Stored,
    Point::Decided,
    Point::DecisionStored,
    Point::BetweenClaims,
];

/// A round: victims, how they crash and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub death: Death,
    /// How long the victims stay down.
    pub down_for: Duration,
    /// How long the load continues after the restart.
    pub more_load: Duration,
    /// Seed of the payments.
    pub load_seed: u64,
}

/// How nodes crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// `kill -9` of one, two or all nodes, after this much load.
    Kill {
        victims: Vec<&'static str>,
        after: Duration,
    },
    /// One node aborts when it passes a named crash point for the `nth` time.
    Abort {
        victim: &'static str,
        point: Point,
        nth: u32,
        /// Killed at the start of the load, so that HTLCs sent to it fail back to the victim.
        away: Option<&'static str>,
    },
}

impl Plan {
    /// The plan of a round, always the same for the same seed.
    pub(super) fn of(seed: u64, round: u32) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(u64::from(round)));
        Self {
            death: Death::of(&mut rng),
            down_for: millis(&mut rng, 0, 500),
            more_load: millis(&mut rng, 0, 1_500),
            load_seed: rng.u64(..),
        }
    }

    /// The same plan, but `name`, which has no crash points, is killed where it would abort at one.
    pub(super) fn without_points_of(mut self, name: &'static str) -> Self {
        if let Death::Abort { victim, nth, .. } = self.death
            && victim == name
        {
            self.death = Death::Kill {
                victims: vec![victim],
                after: Duration::from_millis(200 * u64::from(nth)),
            };
        }
        self
    }
}

impl Death {
    fn of(rng: &mut Rng) -> Self {
        match rng.u32(..3) {
            0 => Self::kill(rng),
            1 => Self::of_receiver(rng),
            _ => Self::of_sender(rng),
        }
    }

    fn of_receiver(rng: &mut Rng) -> Self {
        Self::Abort {
            victim: NODES[rng.usize(..NODES.len())],
            point: COUNTABLE[rng.usize(..COUNTABLE.len())],
            // Low enough for a busy machine: only some payments are to the victim in several shards.
            nth: rng.u32(1..=10),
            away: None,
        }
    }

    fn of_sender(rng: &mut Rng) -> Self {
        let (victim, other) = SENDERS[rng.usize(..SENDERS.len())];
        let point = Point::OF_SENDERS[rng.usize(..Point::OF_SENDERS.len())];
        let needs_failures = matches!(point, Point::BeforeFailed | Point::FailureStored);
        Self::Abort {
            victim,
            point,
            nth: rng.u32(1..=10),
            away: needs_failures.then_some(other),
        }
    }

    fn kill(rng: &mut Rng) -> Self {
        let after = millis(rng, 100, 2_500);
        // Usually one, occasionally several at once.
        let count = [1, 1, 1, 2, 2, 3][rng.usize(..6)];
        let victims = rng.choose_multiple(NODES, count);
        Self::Kill { victims, after }
    }

    /// The nodes that crash.
    pub(super) fn victims(&self) -> Vec<&'static str> {
        match self {
            Self::Kill { victims, .. } => victims.clone(),
            Self::Abort { victim, away, .. } => once(*victim).chain(*away).collect(),
        }
    }
}

fn millis(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..to))
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.death {
            Death::Kill { victims, after } => format!("kill {} after {after:?}", victims.join("+")),
            Death::Abort {
                victim, point, nth, ..
            } => format!("abort {victim} at {point}:{nth}"),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn seed_determines_the_rounds() {
        let rounds = |seed| {
            (0..50)
                .map(|round| Plan::of(seed, round))
                .collect::<Vec<_>>()
        };
        assert_eq!(rounds(1), rounds(1));
        assert_ne!(rounds(1), rounds(2));
    }

    #[test]
    fn every_combination_of_nodes_is_killed() {
        let plans = (0..200).map(|round| Plan::of(7, round).death);
        let kills = plans.filter(|death| matches!(death, Death::Kill { .. }));
        let sets: BTreeSet<Vec<_>> = kills
            .map(|death| {
                let mut victims = death.victims();
                victims.sort_unstable();
                victims
            })
            .collect();
        // All non-empty subsets of three.
        assert_eq!(sets.len(), 7);
    }

    #[test]
    fn nodes_without_crash_points_are_killed_instead() {
        for round in 0..200 {
            let plan = Plan::of(7, round).without_points_of("carol");
            assert!(!matches!(
                plan.death,
                Death::Abort {
                    victim: "carol",
                    ..
                }
            ));
            assert_eq!(plan.death.victims(), Plan::of(7, round).death.victims());
        }
    }

    #[test]
    fn every_node_aborts_at_every_countable_point_it_reaches() {
        let deaths = (0..500).map(|round| Plan::of(7, round).death);
        let aborts: BTreeSet<_> = deaths
            .filter_map(|death| match death {
                Death::Abort { victim, point, .. } => Some((victim, point.name())),
                Death::Kill { .. } => None,
            })
            .collect();
        let receiving = NODES.len() * COUNTABLE.len();
        let sending = SENDERS.len() * Point::OF_SENDERS.len();
        assert_eq!(aborts.len(), receiving + sending);
    }
}
