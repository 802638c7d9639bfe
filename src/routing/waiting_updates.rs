//! Channel updates that wait until their channel is known.
//!
//! Nobody can verify them yet. So two peers' updates of a direction are kept: a forged one does not take the
//! place of the right one.

use std::collections::{BTreeMap, HashMap};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::ChannelUpdate;

/// Directions of channels of which updates may wait. A stranger can fill this with nonsense; then the oldest
/// ones go, and what they would have told comes with the next connection.
pub(super) const MOST_DIRECTIONS: usize = 1_000;
/// Updates of one direction that may wait, each of another peer.
const MOST_OF_DIRECTION: usize = 2;

/// A channel's short id, and one of its directions.
type Direction = (u64, u8);

#[derive(Default)]
pub(super) struct WaitingUpdates {
    directions: HashMap<Direction, Waiting>,
    /// By the numbers of their arrival.
    arrived: BTreeMap<u64, Direction>,
    arrivals: u64,
}

struct Waiting {
    arrival: u64,
    /// Each with the peer that sent it, the oldest first.
    updates: Vec<(Option<PublicKey>, ChannelUpdate)>,
}

pub(super) fn direction(update: &ChannelUpdate) -> Direction {
    let contents = &update.contents;
    (contents.short_channel_id, contents.channel_flags & 1)
}

impl WaitingUpdates {
    /// Keeps an update of `peer`, in the place of the one that it sent before.
    pub(super) fn keep(&mut self, peer: Option<PublicKey>, update: &ChannelUpdate) {
        let direction = direction(update);
        let updates = match self.directions.get_mut(&direction) {
            Some(waiting) => &mut waiting.updates,
            None => self.begin(direction),
        };
        updates.retain(|(other, _)| *other != peer);
        if updates.len() >= MOST_OF_DIRECTION {
            updates.remove(0);
        }
        updates.push((peer, update.clone()));
    }

    fn begin(&mut self, direction: Direction) -> &mut Vec<(Option<PublicKey>, ChannelUpdate)> {
        if self.directions.len() >= MOST_DIRECTIONS
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

    /// The updates of this channel, which do not wait any more.
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
    fn a_peer_replaces_its_own_update_and_not_that_of_another() {
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
    fn one_direction_takes_no_more_than_two_places_and_all_no_more_than_there_are() {
        let mut waiting = WaitingUpdates::default();
        for peer in 3..50 {
            waiting.keep(Some(public(peer)), &update(1, 1));
        }
        assert_eq!(waiting.len(), 2);
        for scid in 2..=MOST_DIRECTIONS as u64 {
            waiting.keep(None, &update(scid, 1));
        }
        assert_eq!(waiting.len(), MOST_DIRECTIONS + 1);
        waiting.keep(None, &update(0, 1));
        assert_eq!(waiting.len(), MOST_DIRECTIONS);
        assert_eq!(waiting.take(1), [], "the oldest went");
        assert_eq!(waiting.take(2).len(), 1);
    }
}
