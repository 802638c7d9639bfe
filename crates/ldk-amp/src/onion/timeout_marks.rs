//! The HTLCs whose failure goes out as `mpp_timeout`, until it cannot be sent again.

use std::collections::{BTreeMap, HashMap};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use crate::HtlcKey;

/// BOLT 2 allows 483 HTLCs in one direction of a channel, so more marks cannot be live.
const MAX_PER_CHANNEL: usize = 483;

/// Reasons to send instead of LDK's.
///
/// LDK sends a failure again after a reconnect until the peer has acknowledged it with
/// `revoke_and_ack`, so a mark stays until then. It also goes with its channel, and the oldest go
/// when there are more in a channel than it can have HTLCs.
#[derive(Default)]
pub struct Marks(HashMap<ChannelId, BTreeMap<u64, Mark>>);

struct Mark {
    reason: Vec<u8>,
    sent_to: Option<PublicKey>,
}

impl Marks {
    /// Remembers the reason for this HTLC's failure.
    pub fn insert(&mut self, key: HtlcKey, reason: Vec<u8>) {
        let channel = self.0.entry(key.channel_id).or_default();
        channel.insert(
            key.htlc_id,
            Mark {
                reason,
                sent_to: None,
            },
        );
        while channel.len() > MAX_PER_CHANNEL {
            channel.pop_first();
        }
    }

    /// The reason for a failure that goes out to `peer` now, if its HTLC is marked.
    pub fn outgoing(&mut self, key: &HtlcKey, peer: PublicKey) -> Option<&[u8]> {
        let mark = self.0.get_mut(&key.channel_id)?.get_mut(&key.htlc_id)?;
        mark.sent_to = Some(peer);
        Some(&mark.reason)
    }

    /// The peer acknowledges what was sent to it so far in this channel.
    ///
    /// While a `commitment_signed` of ours waits for its `revoke_and_ack` no further one is sent
    /// (BOLT 2), so what went out before this message is acknowledged by it.
    pub fn acknowledged(&mut self, channel_id: &ChannelId, peer: PublicKey) {
        let Some(channel) = self.0.get_mut(channel_id) else {
            return;
        };
        channel.retain(|_, mark| mark.sent_to != Some(peer));
        if channel.is_empty() {
            self.0.remove(channel_id);
        }
    }

    /// The channel is closed.
    pub fn forget_channel(&mut self, channel_id: &ChannelId) {
        self.0.remove(channel_id);
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_data::onions;
    use super::*;

    fn peer(i: usize) -> PublicKey {
        onions()[1].hops[i].packet.public_key.unwrap()
    }

    fn key(channel: u8, htlc_id: u64) -> HtlcKey {
        HtlcKey {
            channel_id: ChannelId([channel; 32]),
            htlc_id,
        }
    }

    #[test]
    fn a_mark_stays_until_its_failure_was_sent_and_acknowledged() {
        let mut marks = Marks::default();
        marks.insert(key(1, 5), vec![9]);
        marks.acknowledged(&key(1, 5).channel_id, peer(0));
        assert_eq!(
            marks.outgoing(&key(1, 5), peer(0)),
            Some(&[9][..]),
            "not sent before: kept"
        );
        assert_eq!(
            marks.outgoing(&key(1, 5), peer(0)),
            Some(&[9][..]),
            "sent again after a reconnect"
        );
        marks.acknowledged(&key(2, 5).channel_id, peer(0));
        marks.acknowledged(&key(1, 5).channel_id, peer(1));
        let reason = marks.outgoing(&key(1, 5), peer(0));
        assert!(
            reason.is_some(),
            "neither another channel nor another peer acknowledges it"
        );
        marks.acknowledged(&key(1, 5).channel_id, peer(0));
        assert_eq!(marks.outgoing(&key(1, 5), peer(0)), None);
        assert!(marks.is_empty());
    }

    #[test]
    fn other_htlcs_are_not_marked() {
        let mut marks = Marks::default();
        marks.insert(key(1, 5), vec![9]);
        assert_eq!(marks.outgoing(&key(1, 6), peer(0)), None);
        assert_eq!(marks.outgoing(&key(2, 5), peer(0)), None);
    }

    #[test]
    fn a_closed_channel_takes_its_marks_along() {
        let mut marks = Marks::default();
        marks.insert(key(1, 5), vec![9]);
        marks.forget_channel(&key(1, 5).channel_id);
        assert!(marks.is_empty());
    }

    #[test]
    fn a_channel_keeps_at_most_as_many_marks_as_it_can_have_htlcs() {
        let mut marks = Marks::default();
        for id in 0..=MAX_PER_CHANNEL as u64 {
            marks.insert(key(1, id), vec![9]);
        }
        assert_eq!(marks.0[&ChannelId([1; 32])].len(), MAX_PER_CHANNEL);
        assert_eq!(marks.outgoing(&key(1, 0), peer(0)), None, "the oldest goes");
        assert!(marks.outgoing(&key(1, 1), peer(0)).is_some());
    }
}
