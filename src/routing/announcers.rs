//! What peers' announcements of channels were worth, and so what we still look up for them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;

use crate::rates::{Bucket, Rate};

/// Wrong announcements after which a peer is banned, and for how long, as in lnd.
const MOST_WRONG: u32 = 100;
const BAN: Duration = Duration::from_secs(48 * 60 * 60);
/// Look-ups for one peer that come to nothing. A channel that exists gives two back, so who sends more good
/// than bad is never slowed down.
const OF_ONE: Rate = Rate {
    burst: 100,
    interval: Duration::from_secs(1),
};
/// The same for all peers together of whom we have had no more good than bad: identities are free.
const OF_STRANGERS: Rate = Rate {
    burst: 1_000,
    interval: Duration::from_secs(1),
};
const GIVEN_BACK: u32 = 2;
/// Peers that are remembered, and those that are banned.
const MOST_PEERS: usize = 1_000;

/// What an announcement was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// The channel exists.
    Right,
    /// It is closed. Peers that do not check the chain keep such channels for two weeks.
    Closed,
    /// It never existed, or its signatures are wrong.
    Wrong,
}

/// What our peers have announced.
pub struct Announcers {
    known: Mutex<Known>,
}

struct Known {
    peers: HashMap<PublicKey, Record>,
    strangers: Bucket,
    /// With the ends of their bans, the first first.
    banned: VecDeque<(PublicKey, Instant)>,
}

struct Record {
    lookups: Bucket,
    wrong: u32,
    /// Announcements of channels that exist, less the others.
    balance: i64,
    last: Instant,
}

impl Default for Announcers {
    fn default() -> Self {
        let known = Known {
            peers: HashMap::new(),
            strangers: Bucket::full(Instant::now()),
            banned: VecDeque::new(),
        };
        Self {
            known: Mutex::new(known),
        }
    }
}

impl Announcers {
    /// Whether a channel that this peer has announced is to be looked up. Then [`Announcers::found`] is due.
    pub fn may_ask(&self, peer: &PublicKey) -> bool {
        self.known().may_ask(peer, Instant::now())
    }

    /// What an announcement of this peer was worth. True if the peer is banned for it, from now on.
    pub fn found(&self, peer: &PublicKey, worth: Worth) -> bool {
        self.known().found(peer, worth, Instant::now())
    }

    pub fn is_banned(&self, peer: &PublicKey) -> bool {
        self.known().is_banned(peer, Instant::now())
    }

    /// No code that holds this lock can panic halfway through a change.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn may_ask(&mut self, peer: &PublicKey, now: Instant) -> bool {
        let record = record(&mut self.peers, peer, now);
        if !record.lookups.has_one(OF_ONE, now) {
            return false;
        }
        if record.balance <= 0 && !self.strangers.take(OF_STRANGERS, now) {
            return false;
        }
        record.lookups.take(OF_ONE, now)
    }

    fn found(&mut self, peer: &PublicKey, worth: Worth, now: Instant) -> bool {
        let record = record(&mut self.peers, peer, now);
        match worth {
            Worth::Right => {
                if record.balance <= 0 {
                    self.strangers.put(OF_STRANGERS, GIVEN_BACK);
                }
                record.lookups.put(OF_ONE, GIVEN_BACK);
                record.balance += 1;
            }
            Worth::Closed => record.balance -= 1,
            Worth::Wrong => {
                record.balance -= 1;
                record.wrong += 1;
            }
        }
        let is_too_much = record.wrong >= MOST_WRONG;
        if is_too_much {
            self.peers.remove(peer);
            self.ban(*peer, now);
        }
        is_too_much
    }

    fn ban(&mut self, peer: PublicKey, now: Instant) {
        if self.banned.len() >= MOST_PEERS {
            self.banned.pop_front();
        }
        self.banned.push_back((peer, now + BAN));
    }

    fn is_banned(&mut self, peer: &PublicKey, now: Instant) -> bool {
        while self.banned.front().is_some_and(|(_, end)| *end <= now) {
            self.banned.pop_front();
        }
        self.banned.iter().any(|(banned, _)| banned == peer)
    }
}

/// What is known of this peer. One that has sent nothing for the time of a ban starts anew.
fn record<'a>(
    peers: &'a mut HashMap<PublicKey, Record>,
    peer: &PublicKey,
    now: Instant,
) -> &'a mut Record {
    if peers.len() >= MOST_PEERS && !peers.contains_key(peer) {
        let oldest = peers.iter().min_by_key(|(_, record)| record.last);
        if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
            peers.remove(&oldest);
        }
    }
    let record = peers.entry(*peer).or_insert_with(|| Record::new(now));
    if record.last + BAN <= now {
        *record = Record::new(now);
    }
    record.last = now;
    record
}

impl Record {
    fn new(now: Instant) -> Self {
        Self {
            lookups: Bucket::full(now),
            wrong: 0,
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
    fn a_hundred_wrong_announcements_ban_a_peer_for_two_days() {
        let (announcers, peer, now) = (Announcers::default(), peer(1), Instant::now());
        let wrong = || announcers.known().found(&peer, Worth::Wrong, now);
        assert!((1..100).all(|_| !wrong()));
        assert!(!announcers.known().is_banned(&peer, now));
        assert!(wrong());
        let is_banned = |after: Duration| announcers.known().is_banned(&peer, now + after);
        assert!(is_banned(Duration::ZERO) && is_banned(BAN - Duration::from_secs(1)));
        assert!(!is_banned(BAN));
    }

    #[test]
    fn closed_channels_ban_nobody_but_are_looked_up_slowly() {
        let (announcers, peer, now) = (Announcers::default(), peer(1), Instant::now());
        for _ in 0..1_000 {
            assert!(!announcers.known().found(&peer, Worth::Closed, now));
        }
        assert_eq!(asked(&announcers, &peer, 1_000, now), 100);
        let later = now + Duration::from_secs(10);
        assert_eq!(asked(&announcers, &peer, 1_000, later), 10);
    }

    #[test]
    fn who_sends_more_good_than_bad_is_never_slowed_down() {
        let (announcers, peer, now) = (Announcers::default(), peer(1), Instant::now());
        for number in 0..100_000 {
            assert!(announcers.known().may_ask(&peer, now), "{number}");
            let worth = if number % 3 == 0 {
                Worth::Closed
            } else {
                Worth::Right
            };
            announcers.known().found(&peer, worth, now);
        }
    }

    #[test]
    fn many_identities_get_no_more_together_and_a_useful_peer_goes_on() {
        let (announcers, now) = (Announcers::default(), Instant::now());
        let useful = peer(0);
        announcers.known().found(&useful, Worth::Right, now);
        let asked_by_others: usize = (1..=200)
            .map(|number| asked(&announcers, &peer(number), 100, now))
            .sum();
        assert_eq!(asked_by_others, 1_000);
        assert_eq!(asked(&announcers, &useful, 50, now), 50);
        let later = now + Duration::from_secs(60);
        let asked_later: usize = (201..=400)
            .map(|number| asked(&announcers, &peer(number), 100, later))
            .sum();
        assert_eq!(asked_later, 60, "one a second after the burst");
    }

    #[test]
    fn memory_is_bounded() {
        let (announcers, now) = (Announcers::default(), Instant::now());
        for number in 0..1_100 {
            for _ in 0..MOST_WRONG {
                announcers.known().found(&peer(number), Worth::Wrong, now);
            }
            announcers.known().may_ask(&peer(2_000 + number), now);
        }
        let known = announcers.known();
        assert_eq!(known.banned.len(), MOST_PEERS);
        assert!(known.peers.len() <= MOST_PEERS);
    }
}
