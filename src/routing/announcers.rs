//! Tracks the quality of peers' channel announcements to limit the look-ups done for each peer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;

use crate::rates::{Bucket, Rate};
use crate::sync::lock;

/// The number of invalid announcements after which a peer is banned, as in lnd.
const MAX_INVALID: u32 = 100;
/// How long a peer is banned, as in lnd.
const BAN_DURATION: Duration = Duration::from_secs(48 * 60 * 60);
/// The rate of fruitless look-ups per peer. Each channel found refunds two look-ups, so a peer that sends
/// more valid announcements than others is never throttled.
const PEER_LOOKUPS: Rate = Rate {
    burst: 100,
    interval: Duration::from_secs(1),
};
/// The same for all peers together whose valid announcements do not outnumber the others. A shared limit is
/// needed because node ids cost nothing.
const UNPROVEN_LOOKUPS: Rate = Rate {
    burst: 1_000,
    interval: Duration::from_secs(1),
};
/// Look-ups refunded for each channel found.
const REFUND: u32 = 2;
/// The maximum number of tracked peers, and of banned peers.
const MAX_PEERS: usize = 1_000;

/// The result of checking a channel announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// The channel exists.
    Valid,
    /// The channel is closed. Peers that do not check the chain keep such channels for two weeks.
    Closed,
    /// The channel never existed, or a signature is invalid.
    Invalid,
}

/// The announcement records of our peers.
pub(super) struct Announcers {
    known: Mutex<Known>,
}

struct Known {
    peers: HashMap<PublicKey, Record>,
    /// The look-ups left for all unproven peers together.
    unproven: Bucket,
    /// Banned peers and when their bans end, soonest first.
    banned: VecDeque<(PublicKey, Instant)>,
}

struct Record {
    lookups: Bucket,
    invalid: u32,
    /// The number of valid announcements minus that of all others.
    balance: i64,
    last: Instant,
}

impl Default for Announcers {
    fn default() -> Self {
        let known = Known {
            peers: HashMap::new(),
            unproven: Bucket::full(Instant::now()),
            banned: VecDeque::new(),
        };
        Self {
            known: Mutex::new(known),
        }
    }
}

impl Announcers {
    /// Takes one look-up from the peer's allowance. Returns false if there is none left; if it returns true,
    /// report the result with [`Announcers::found`].
    pub(super) fn may_ask(&self, peer: &PublicKey) -> bool {
        self.known().may_ask(peer, Instant::now())
    }

    /// Records the result of checking an announcement of this peer. Returns true if that bans the peer.
    pub(super) fn found(&self, peer: &PublicKey, finding: Finding) -> bool {
        self.known().found(peer, finding, Instant::now())
    }

    /// Returns whether the peer is banned.
    pub(super) fn is_banned(&self, peer: &PublicKey) -> bool {
        self.known().is_banned(peer, Instant::now())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Known {
    fn may_ask(&mut self, peer: &PublicKey, now: Instant) -> bool {
        let record = record(&mut self.peers, peer, now);
        if !record.lookups.has_one(PEER_LOOKUPS, now) {
            return false;
        }
        if record.balance <= 0 && !self.unproven.take(UNPROVEN_LOOKUPS, now) {
            return false;
        }
        record.lookups.take(PEER_LOOKUPS, now)
    }

    fn found(&mut self, peer: &PublicKey, finding: Finding, now: Instant) -> bool {
        let record = record(&mut self.peers, peer, now);
        match finding {
            Finding::Valid => {
                if record.balance <= 0 {
                    self.unproven.put(UNPROVEN_LOOKUPS, REFUND);
                }
                record.lookups.put(PEER_LOOKUPS, REFUND);
                record.balance += 1;
            }
            Finding::Closed => record.balance -= 1,
            Finding::Invalid => {
                record.balance -= 1;
                record.invalid += 1;
            }
        }
        let is_banned = record.invalid >= MAX_INVALID;
        if is_banned {
            self.peers.remove(peer);
            self.ban(*peer, now);
        }
        is_banned
    }

    fn ban(&mut self, peer: PublicKey, now: Instant) {
        if self.banned.len() >= MAX_PEERS {
            self.banned.pop_front();
        }
        self.banned.push_back((peer, now + BAN_DURATION));
    }

    fn is_banned(&mut self, peer: &PublicKey, now: Instant) -> bool {
        while self.banned.front().is_some_and(|(_, end)| *end <= now) {
            self.banned.pop_front();
        }
        self.banned.iter().any(|(banned, _)| banned == peer)
    }
}

/// Returns the record of this peer, reset if the peer has announced nothing for [`BAN_DURATION`].
fn record<'a>(
    peers: &'a mut HashMap<PublicKey, Record>,
    peer: &PublicKey,
    now: Instant,
) -> &'a mut Record {
    if peers.len() >= MAX_PEERS && !peers.contains_key(peer) {
        let oldest = peers.iter().min_by_key(|(_, record)| record.last);
        if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
            peers.remove(&oldest);
        }
    }
    let record = peers.entry(*peer).or_insert_with(|| Record::new(now));
    if record.last + BAN_DURATION <= now {
        *record = Record::new(now);
    }
    record.last = now;
    record
}

impl Record {
    fn new(now: Instant) -> Self {
        Self {
            lookups: Bucket::full(now),
            invalid: 0,
            balance: 0,
            last: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    fn peer(number: u16) -> PublicKey {
        let mut secret = [1; 32];
        secret[..2].copy_from_slice(&number.to_be_bytes());
        let secret = SecretKey::from_slice(&secret).unwrap();
        secret.public_key(&Secp256k1::new())
    }

    fn asked(announcers: &Announcers, peer: &PublicKey, most: usize, at: Instant) -> usize {
        let asks = (0..most).filter(|_| announcers.known().may_ask(peer, at));
        asks.count()
    }

    #[test]
    fn hundred_invalid_announcements_ban_a_peer_for_two_days() {
        let (announcers, peer, now) = (Announcers::default(), peer(1), Instant::now());
        let is_last = || announcers.known().found(&peer, Finding::Invalid, now);
        assert!((1..100).all(|_| !is_last()));
        assert!(!announcers.known().is_banned(&peer, now));
        assert!(is_last());
        let is_banned = |after: Duration| announcers.known().is_banned(&peer, now + after);
        assert!(is_banned(Duration::ZERO) && is_banned(BAN_DURATION - Duration::from_secs(1)));
        assert!(!is_banned(BAN_DURATION));
    }

    #[test]
    fn closed_channels_throttle_a_peer_without_banning_it() {
        let (announcers, peer, now) = (Announcers::default(), peer(1), Instant::now());
        for _ in 0..1_000 {
            assert!(!announcers.known().found(&peer, Finding::Closed, now));
        }
        assert_eq!(asked(&announcers, &peer, 1_000, now), 100);
        let later = now + Duration::from_secs(10);
        assert_eq!(asked(&announcers, &peer, 1_000, later), 10);
    }

    #[test]
    fn peers_with_mostly_valid_announcements_are_never_throttled() {
        let (announcers, peer, now) = (Announcers::default(), peer(1), Instant::now());
        for number in 0..100_000 {
            assert!(announcers.known().may_ask(&peer, now), "{number}");
            let finding = if number % 3 == 0 {
                Finding::Closed
            } else {
                Finding::Valid
            };
            announcers.known().found(&peer, finding, now);
        }
    }

    #[test]
    fn new_peers_share_one_limit_that_proven_peers_are_exempt_from() {
        let (announcers, now) = (Announcers::default(), Instant::now());
        let useful = peer(0);
        announcers.known().found(&useful, Finding::Valid, now);
        let asked_by_others: usize = (1..=200)
            .map(|number| asked(&announcers, &peer(number), 100, now))
            .sum();
        assert_eq!(asked_by_others, 1_000);
        assert_eq!(asked(&announcers, &useful, 50, now), 50);
        let later = now + Duration::from_secs(60);
        let asked_later: usize = (201..=400)
            .map(|number| asked(&announcers, &peer(number), 100, later))
            .sum();
        assert_eq!(asked_later, 60, "one per second after the burst");
    }

    #[test]
    fn memory_is_bounded() {
        let (announcers, now) = (Announcers::default(), Instant::now());
        for number in 0..1_100 {
            for _ in 0..MAX_INVALID {
                announcers
                    .known()
                    .found(&peer(number), Finding::Invalid, now);
            }
            announcers.known().may_ask(&peer(2_000 + number), now);
        }
        let known = announcers.known();
        assert_eq!(known.banned.len(), MAX_PEERS);
        assert!(known.peers.len() <= MAX_PEERS);
    }
}
