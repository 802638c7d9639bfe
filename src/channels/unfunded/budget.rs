//! Limits on the number of channels that unknown peers may open per hour.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;

use super::origin::Origin;

const HOUR: Duration = Duration::from_secs(3_600);
/// Each budget may be used at once, and is restored over an hour.
const MAX_PER_PEER: u32 = 10;
const MAX_PER_ADDRESS: u32 = 30;
/// Also the limit of an address shared by many peers, such as that of a Tor daemon.
const MAX_TOTAL: u32 = 100;

/// Above this number, the full budgets of peers and addresses are dropped.
const MAX_BUCKETS: usize = 1_000;

/// A budget of units, which are restored at a constant rate.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// When the budget is full again.
    full: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { full: now }
    }

    fn is_full(self, now: Instant) -> bool {
        self.full <= now
    }

    /// Returns the budget after using `units` more; `None` if it has fewer.
    fn less(self, units: u32, size: u32, now: Instant) -> Option<Self> {
        let full = self.full.max(now) + HOUR * units / size;
        (full <= now + HOUR).then_some(Self { full })
    }

    fn give_back(&mut self, units: u32, size: u32) {
        let earlier = self.full.checked_sub(HOUR * units / size);
        self.full = earlier.unwrap_or(self.full);
    }
}

/// The units taken for a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    peer: PublicKey,
    /// `None` for a peer that is known to have paid for a channel.
    origin: Option<Origin>,
    in_all: bool,
    units: u32,
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted;

/// A budget for each peer, for each address, and a common one.
///
/// The first channel of an address is accepted even if the common budget is used up. Otherwise
/// somebody with many addresses could lock out all other peers.
#[derive(Debug)]
pub(super) struct Budget {
    peers: HashMap<PublicKey, Bucket>,
    origins: HashMap<Origin, Bucket>,
    all: Bucket,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            peers: HashMap::new(),
            origins: HashMap::new(),
            all: Bucket::new(now),
        }
    }

    /// Takes `units` for a channel of `peer`. `origin` is `None` for a peer that is known to have
    /// paid for a channel: only the peer's own limit applies to it.
    pub(super) fn take(
        &mut self,
        peer: PublicKey,
        origin: Option<Origin>,
        units: u32,
        now: Instant,
    ) -> Result<Taken, Exhausted> {
        self.drop_full(now);
        let fresh = Bucket::new(now);
        let of_peer = self.peers.get(&peer).copied().unwrap_or(fresh);
        let of_peer = of_peer.less(units, MAX_PER_PEER, now).ok_or(Exhausted)?;
        let mut in_all = false;
        if let Some(origin) = origin {
            let known = self.origins.get(&origin).copied().unwrap_or(fresh);
            let less = known.less(units, size(origin), now).ok_or(Exhausted)?;
            match self.all.less(units, MAX_TOTAL, now) {
                Some(all) => {
                    self.all = all;
                    in_all = true;
                }
                None if known.is_full(now) => {}
                None => return Err(Exhausted),
            }
            self.origins.insert(origin, less);
        }
        self.peers.insert(peer, of_peer);
        Ok(Taken {
            peer,
            origin,
            in_all,
            units,
        })
    }

    /// Returns the units: the channel has cost its peer something, or no data of it is left.
    pub(super) fn give_back(&mut self, taken: Taken) {
        let units = taken.units;
        if let Some(bucket) = self.peers.get_mut(&taken.peer) {
            bucket.give_back(units, MAX_PER_PEER);
        }
        let Some(origin) = taken.origin else { return };
        if let Some(bucket) = self.origins.get_mut(&origin) {
            bucket.give_back(units, size(origin));
        }
        if taken.in_all {
            self.all.give_back(units, MAX_TOTAL);
        }
    }

    fn drop_full(&mut self, now: Instant) {
        if self.peers.len() > MAX_BUCKETS {
            self.peers.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.origins.len() > MAX_BUCKETS {
            self.origins.retain(|_, bucket| !bucket.is_full(now));
        }
    }
}

fn size(origin: Origin) -> u32 {
    if origin.is_shared() {
        MAX_TOTAL
    } else {
        MAX_PER_ADDRESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::unfunded::tests::{origin, peer};

    #[test]
    fn limits_apply_per_peer_per_address_and_in_total() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let home = Some(origin("203.0.113.1"));
        for _ in 0..MAX_PER_PEER {
            budget.take(peer(1), home, 1, now).unwrap();
        }
        assert!(budget.take(peer(1), home, 1, now).is_err());
        assert!(
            budget.take(peer(1), None, 1, now).is_err(),
            "a known peer exceeded its limit"
        );
        for number in 10..30 {
            budget.take(peer(number), home, 1, now).unwrap();
        }
        assert!(budget.take(peer(30), home, 1, now).is_err());
        assert!(budget.take(peer(30), None, 1, now).is_ok(), "known");
        let second = Some(origin("203.0.113.2"));
        let third = Some(origin("203.0.113.3"));
        for number in 40..70 {
            budget.take(peer(number), second, 1, now).unwrap();
            budget.take(peer(number), third, 1, now).unwrap();
        }
        let fourth = Some(origin("203.0.113.4"));
        for number in 70..80 {
            budget.take(peer(number), fourth, 1, now).unwrap();
        }
        assert!(budget.take(peer(80), fourth, 1, now).is_err());
        let fifth = Some(origin("203.0.113.5"));
        assert!(
            budget.take(peer(80), fifth, 1, now).is_ok(),
            "the first channel of an address was refused"
        );
        assert!(budget.take(peer(81), fifth, 1, now).is_err());
    }

    #[test]
    fn used_budget_is_restored_over_an_hour() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let home = Some(origin("203.0.113.1"));
        for _ in 0..MAX_PER_PEER {
            budget.take(peer(1), home, 1, now).unwrap();
        }
        assert!(budget.take(peer(1), home, 1, now).is_err());
        let later = now + HOUR / MAX_PER_PEER;
        budget.take(peer(1), home, 1, later).unwrap();
        assert!(budget.take(peer(1), home, 1, later).is_err());
    }

    #[test]
    fn returned_units_can_be_used_again() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let home = Some(origin("203.0.113.1"));
        for _ in 0..10 * MAX_TOTAL {
            let taken = budget.take(peer(1), home, 3, now).unwrap();
            budget.give_back(taken);
        }
    }

    #[test]
    fn many_peers_may_share_the_address_of_a_tor_daemon() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let tor = Some(origin("127.0.0.1"));
        for number in 0..MAX_TOTAL {
            budget.take(peer(number), tor, 1, now).unwrap();
        }
        assert!(budget.take(peer(1_000), tor, 1, now).is_err());
    }
}
