//! Early channel updates, kept until their channel is known.
//!
//! They cannot be verified yet. So updates from two peers are kept per direction: a forged update does not
//! displace the valid one.

use std::collections::{BTreeMap, HashMap};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::ChannelUpdate;

/// The maximum number of channel directions with kept updates. Any peer can fill this with bogus updates;
/// then the oldest are dropped and arrive again with the next connection.
pub(super) const MAX_DIRECTIONS: usize = 1_000;
/// The maximum number of kept updates per direction, each from a different peer.
const MAX_PER_DIRECTION: usize = 2;

/// A channel's short id, and one of its directions.
type Direction = (u64, u8);

/// The kept updates of all channels.
#[derive(Default)]
pub(super) struct WaitingUpdates {
    directions: HashMap<Direction, Waiting>,
    /// Directions by order of arrival.
    arrived: BTreeMap<u64, Direction>,
    arrivals: u64,
}

struct Waiting {
    arrival: u64,
    /// The updates and their senders, oldest first.
    updates: Vec<(Option<PublicKey>, ChannelUpdate)>,
}

/// Returns the channel and direction of an update.
pub(super) fn direction(update: &ChannelUpdate) -> Direction {
    let contents = &update.contents;
    (contents.short_channel_id, contents.channel_flags & 1)
}

impl WaitingUpdates {
    /// Keeps an update, replacing an earlier one from the same peer.
    pub(super) fn keep(&mut self, peer: Option<PublicKey>, update: &ChannelUpdate) {
        let direction = direction(update);
        let updates = match self.directions.get_mut(&direction) {
            Some(waiting) => &mut waiting.updates,
            None => self.begin(direction),
        };
        updates.retain(|(other, _)| *other != peer);
        if updates.len() >= MAX_PER_DIRECTION {
            updates.remove(0);
        }
        updates.push((peer, update.clone()));
    }

    fn begin(&mut self, direction: Direction) -> &mut Vec<(Option<PublicKey>, ChannelUpdate)> {
        if self.directions.len() >= MAX_DIRECTIONS
            && let Some((_, oldest)) = self.arrived.pop_first()
        {
            self.directions.remove(&oldest);
        }
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.arrived.insert(arrival, direction);
        let waiting = Waiting {
            arrival,
            updates: Vec::new(),
        };
        &mut self.directions.entry(direction).or_insert(waiting).updates
    }

    /// Removes and returns the updates of this channel.
    pub(super) fn take(&mut self, scid: u64) -> Vec<ChannelUpdate> {
        let mut taken = Vec::new();
        for direction in [(scid, 0), (scid, 1)] {
            let Some(waiting) = self.directions.remove(&direction) else {
                continue;
            };
            self.arrived.remove(&waiting.arrival);
            taken.extend(waiting.updates.into_iter().map(|(_, update)| update));
        }
        taken
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.arrived.len(), self.directions.len());
        let waiting = self.directions.values();
        waiting.map(|waiting| waiting.updates.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_gossip::{public, update_between};
    use super::*;

    fn update(scid: u64, seconds: u32) -> ChannelUpdate {
        update_between(scid, [1, 2], 0, seconds)
    }

    #[test]
    fn peers_replace_only_their_own_updates() {
        let mut waiting = WaitingUpdates::default();
        waiting.keep(Some(public(5)), &update(1, 1));
        for seconds in 2..100 {
            waiting.keep(Some(public(6)), &update(1, seconds));
        }
        assert_eq!(waiting.len(), 2);
        assert_eq!(waiting.take(1), [update(1, 1), update(1, 99)]);
        assert_eq!(waiting.take(1), []);
        assert_eq!(waiting.len(), 0);
    }

    #[test]
    fn kept_updates_are_limited_per_direction_and_in_total() {
        let mut waiting = WaitingUpdates::default();
        for peer in 3..50 {
            waiting.keep(Some(public(peer)), &update(1, 1));
        }
        assert_eq!(waiting.len(), 2);
        for scid in 2..=MAX_DIRECTIONS as u64 {
            waiting.keep(None, &update(scid, 1));
        }
        assert_eq!(waiting.len(), MAX_DIRECTIONS + 1);
        waiting.keep(None, &update(0, 1));
        assert_eq!(waiting.len(), MAX_DIRECTIONS);
        assert_eq!(waiting.take(1), [], "oldest dropped");
        assert_eq!(waiting.take(2).len(), 1);
    }
}
