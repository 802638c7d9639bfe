//! Chooses the peers whose unfunded channels are closed when LDK's limit is near.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;

use super::{InboundChannel, Origin, UnfundedChannels, is_unfunded};

/// LDK refuses channels of new peers while more than 50 peers have only unfunded channels. Requests
/// that wait for our answer count as well.
const MAX_WITHOUT_FUNDED: usize = 40;

/// How long an unfunded channel is kept before it may be closed. An honest peer broadcasts its
/// funding transaction as soon as it has our signature, and it reaches us within seconds. Manually
/// signed or batched transactions take longer.
const GRACE: Duration = Duration::from_secs(3_600);
/// The same near the limit, for a connected peer.
const SHORT_GRACE: Duration = Duration::from_secs(60);
/// The same near the limit, for a disconnected peer, or one whose address has more channels than
/// others.
const SHORTEST_GRACE: Duration = Duration::from_secs(15);

/// A peer all of whose channels may be closed.
#[derive(Debug, Clone)]
struct Candidate {
    peer: PublicKey,
    origin: Origin,
    /// The age of its newest channel.
    age: Duration,
    pushed: bool,
    connected: bool,
}

/// Returns the peers that have only unfunded channels with us.
pub fn without_funded_channel(channels: &[ChannelDetails]) -> Vec<PublicKey> {
    let mut peers: HashMap<PublicKey, bool> = HashMap::new();
    for channel in channels {
        let unfunded = peers.entry(channel.counterparty.node_id).or_insert(true);
        *unfunded &= is_unfunded(channel);
    }
    let unfunded = peers.into_iter().filter(|(_, unfunded)| *unfunded);
    unfunded.map(|(peer, _)| peer).collect()
}

/// Returns whether a new peer would take one of the last slots.
pub fn is_near_limit(without_funded: &[PublicKey], new_peer: &PublicKey) -> bool {
    without_funded.len() >= MAX_WITHOUT_FUNDED && !without_funded.contains(new_peer)
}

impl UnfundedChannels {
    /// Returns the peer whose channels should be closed for a new peer from `origin`, or `None` if
    /// the new peer has to wait. Peers whose funding bitcoind knew a few seconds ago, or with a
    /// confirmed channel, are never chosen.
    pub fn victim(
        &self,
        without_funded: &[PublicKey],
        origin: Origin,
        is_connected: impl Fn(&PublicKey) -> bool,
        now: Instant,
    ) -> Option<PublicKey> {
        let state = self.state();
        let mut of_peers: HashMap<PublicKey, Vec<&InboundChannel>> = HashMap::new();
        for inbound in state.channels.values().filter(|one| !one.closed) {
            of_peers.entry(inbound.peer).or_default().push(inbound);
        }
        let candidates = without_funded.iter().filter_map(|peer| {
            let channels = of_peers.get(peer)?;
            candidate(channels, is_connected(peer), now)
        });
        choose(&candidates.collect::<Vec<_>>(), origin)
    }
}

fn candidate(channels: &[&InboundChannel], connected: bool, now: Instant) -> Option<Candidate> {
    let first = channels.first()?;
    if !channels.iter().all(|channel| channel.is_known_unseen(now)) {
        return None;
    }
    let ages = channels.iter().map(|channel| channel.age(now));
    Some(Candidate {
        peer: first.peer,
        origin: first.origin,
        age: ages.min()?,
        pushed: channels.iter().any(|channel| channel.pushed),
        connected,
    })
}

/// Chooses first a peer that had enough time, then one from an address with more peers than the new
/// one's, then one that had enough time under pressure.
fn choose(candidates: &[Candidate], new_peer: Origin) -> Option<PublicKey> {
    let mut counts: HashMap<Origin, usize> = HashMap::new();
    for candidate in candidates {
        *counts.entry(candidate.origin).or_default() += 1;
    }
    let count = |origin: Origin| counts.get(&origin).copied().unwrap_or(0);
    let first_of = |may_go: &dyn Fn(&Candidate) -> bool| {
        let those = candidates.iter().filter(|candidate| may_go(candidate));
        let order = |candidate: &&Candidate| {
            let gone = !candidate.connected;
            (
                count(candidate.origin),
                gone,
                candidate.age,
                Reverse(candidate.peer),
            )
        };
        those.max_by_key(order).map(|candidate| candidate.peer)
    };
    let had_time = |candidate: &Candidate| candidate.age >= GRACE;
    let crowded = |candidate: &Candidate| {
        !candidate.pushed
            && candidate.age >= SHORTEST_GRACE
            && count(candidate.origin) > count(new_peer) + 1
    };
    let had_some_time = |candidate: &Candidate| {
        let grace = if candidate.connected {
            SHORT_GRACE
        } else {
            SHORTEST_GRACE
        };
        !candidate.pushed && candidate.age >= grace
    };
    first_of(&had_time)
        .or_else(|| first_of(&crowded))
        .or_else(|| first_of(&had_some_time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::unfunded::tests::{origin, peer};

    fn candidate(number: u32, address: &str, seconds: u64) -> Candidate {
        Candidate {
            peer: peer(number),
            origin: origin(address),
            age: Duration::from_secs(seconds),
            pushed: false,
            connected: true,
        }
    }

    const BUSY: &str = "203.0.113.1";
    const OTHER: &str = "203.0.113.2";
    const NEW: &str = "203.0.113.3";

    #[test]
    fn evicts_the_oldest_of_the_busiest_address_first() {
        let busy = |from: u64| (0..5).map(move |n| candidate(n, BUSY, from + u64::from(n)));
        let young: Vec<Candidate> = busy(10).collect();
        assert_eq!(
            choose(&young, origin(NEW)),
            None,
            "the funding may still arrive"
        );
        let mut all: Vec<Candidate> = busy(15).collect();
        all.push(candidate(9, OTHER, 50));
        assert_eq!(choose(&all, origin(NEW)), Some(peer(4)));
        all[2].connected = false;
        assert_eq!(
            choose(&all, origin(NEW)),
            Some(peer(2)),
            "the disconnected peer was not chosen"
        );
        all[2].connected = true;
        assert_eq!(
            choose(&all, origin(BUSY)),
            None,
            "a peer of the busiest address was accepted"
        );
    }

    #[test]
    fn evicts_channels_older_than_an_hour_first() {
        let mut all: Vec<Candidate> = (0..5).map(|n| candidate(n, BUSY, 60)).collect();
        all.push(candidate(9, OTHER, 3_600));
        assert_eq!(choose(&all, origin(NEW)), Some(peer(9)));
    }

    #[test]
    fn keeps_young_channels_if_all_addresses_are_equal() {
        let single = |seconds| candidate(1, OTHER, seconds);
        assert_eq!(choose(&[single(59)], origin(NEW)), None);
        assert_eq!(choose(&[single(60)], origin(NEW)), Some(peer(1)));
        let gone = |seconds| Candidate {
            connected: false,
            ..single(seconds)
        };
        assert_eq!(choose(&[gone(14)], origin(NEW)), None);
        assert_eq!(choose(&[gone(15)], origin(NEW)), Some(peer(1)));
    }

    #[test]
    fn keeps_channels_with_pushed_amounts_for_an_hour() {
        let pushed = |seconds| Candidate {
            pushed: true,
            ..candidate(1, BUSY, seconds)
        };
        let pushing = |seconds| [pushed(seconds), pushed(seconds), pushed(seconds)];
        assert_eq!(choose(&pushing(3_599), origin(NEW)), None);
        assert_eq!(choose(&pushing(3_600), origin(NEW)), Some(peer(1)));
    }
}
