//! Whose channels are closed when LDK's limit comes near.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;

use super::{Origin, Stranger, Strangers, is_unfunded};

/// LDK refuses newcomers while more than 50 peers have unfunded channels only; requests that wait for our
/// answer count, too.
const MAX_WITHOUT_FUNDED: usize = 40;

/// An honest peer broadcasts its funding transaction as soon as it has our signature; it then takes
/// seconds to reach us. Longer ones are signed by hand, or batched.
const GRACE: Duration = Duration::from_secs(3_600);
/// Under pressure, for a peer that is connected.
const SHORT_GRACE: Duration = Duration::from_secs(60);
/// The same for one that is gone, or whose address has more than others.
const SHORTEST_GRACE: Duration = Duration::from_secs(15);

/// A peer all of whose channels could go.
#[derive(Debug, Clone)]
struct Candidate {
    peer: PublicKey,
    origin: Origin,
    /// Of its youngest channel.
    age: Duration,
    pushed: bool,
    connected: bool,
}

/// The peers that have unfunded channels with us, and no others.
pub fn without_funded_channel(channels: &[ChannelDetails]) -> Vec<PublicKey> {
    let mut peers: HashMap<PublicKey, bool> = HashMap::new();
    for channel in channels {
        let unfunded = peers.entry(channel.counterparty.node_id).or_insert(true);
        *unfunded &= is_unfunded(channel);
    }
    let unfunded = peers.into_iter().filter(|(_, unfunded)| *unfunded);
    unfunded.map(|(peer, _)| peer).collect()
}

/// Whether a newcomer takes one of the last places.
pub fn is_near_limit(without_funded: &[PublicKey], newcomer: &PublicKey) -> bool {
    without_funded.len() >= MAX_WITHOUT_FUNDED && !without_funded.contains(newcomer)
}

impl Strangers {
    /// The peer whose channels are to be closed for a newcomer from `origin`; none if the newcomer has to
    /// wait. Peers whose funding bitcoind knew a few seconds ago, or who have a channel in the chain, are never
    /// chosen.
    pub fn victim(
        &self,
        without_funded: &[PublicKey],
        origin: Origin,
        is_connected: impl Fn(&PublicKey) -> bool,
        now: Instant,
    ) -> Option<PublicKey> {
        let state = self.state();
        let mut of_peers: HashMap<PublicKey, Vec<&Stranger>> = HashMap::new();
        for stranger in state.channels.values().filter(|one| !one.closed) {
            of_peers.entry(stranger.peer).or_default().push(stranger);
        }
        let candidates = without_funded.iter().filter_map(|peer| {
            let channels = of_peers.get(peer)?;
            candidate(channels, is_connected(peer), now)
        });
        choose(&candidates.collect::<Vec<_>>(), origin)
    }
}

fn candidate(channels: &[&Stranger], connected: bool, now: Instant) -> Option<Candidate> {
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

/// First who had time enough; then somebody from an address that has more than the newcomer's; then who
/// had time enough for most.
fn choose(candidates: &[Candidate], newcomer: Origin) -> Option<PublicKey> {
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
            && count(candidate.origin) > count(newcomer) + 1
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
    use crate::channels::strangers::tests::{origin, peer};

    fn candidate(number: u32, address: &str, seconds: u64) -> Candidate {
        Candidate {
            peer: peer(number),
            origin: origin(address),
            age: Duration::from_secs(seconds),
            pushed: false,
            connected: true,
        }
    }

    const CROWD: &str = "203.0.113.1";
    const OTHER: &str = "203.0.113.2";
    const NEW: &str = "203.0.113.3";

    #[test]
    fn the_oldest_of_the_address_with_the_most_goes_first() {
        let crowd = |from: u64| (0..5).map(move |n| candidate(n, CROWD, from + u64::from(n)));
        let young: Vec<Candidate> = crowd(10).collect();
        assert_eq!(choose(&young, origin(NEW)), None, "the funding may come");
        let mut all: Vec<Candidate> = crowd(15).collect();
        all.push(candidate(9, OTHER, 50));
        assert_eq!(choose(&all, origin(NEW)), Some(peer(4)));
        all[2].connected = false;
        assert_eq!(choose(&all, origin(NEW)), Some(peer(2)), "it is gone");
        all[2].connected = true;
        assert_eq!(
            choose(&all, origin(CROWD)),
            None,
            "its own address has most"
        );
    }

    #[test]
    fn whoever_had_an_hour_goes_before_everybody_else() {
        let mut all: Vec<Candidate> = (0..5).map(|n| candidate(n, CROWD, 60)).collect();
        all.push(candidate(9, OTHER, 3_600));
        assert_eq!(choose(&all, origin(NEW)), Some(peer(9)));
    }

    #[test]
    fn where_no_address_has_more_than_another_some_time_is_left() {
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
    fn whoever_gives_us_money_has_an_hour() {
        let pushed = |seconds| Candidate {
            pushed: true,
            ..candidate(1, CROWD, seconds)
        };
        let crowd = |seconds| [pushed(seconds), pushed(seconds), pushed(seconds)];
        assert_eq!(choose(&crowd(3_599), origin(NEW)), None);
        assert_eq!(choose(&crowd(3_600), origin(NEW)), Some(peer(1)));
    }
}
