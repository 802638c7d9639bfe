//! HTLCs to fail with `mpp_timeout`, kept until LDK can no longer retransmit the failure.

use std::collections::{BTreeMap, HashMap};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use crate::HtlcKey;

/// BOLT 2 allows 483 HTLCs per direction of a channel, so no more marks can be in use.
const MAX_PER_CHANNEL: usize = 483;

/// Failure reasons that replace LDK's.
///
/// LDK retransmits a failure after a reconnect until the peer acknowledges it with `revoke_and_ack`,
/// so a mark is kept until then. Marks are also dropped when their channel closes, and the oldest
/// when a channel has more than `MAX_PER_CHANNEL`.
#[derive(Default)]
pub(super) struct Marks(HashMap<ChannelId, BTreeMap<u64, Mark>>);

struct Mark {
    reason: Vec<u8>,
    sent_to: Option<PublicKey>,
}

impl Marks {
    /// Stores the reason with which this HTLC is to fail.
    pub(super) fn insert(&mut self, key: HtlcKey, reason: Vec<u8>) {
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

    /// Returns the reason for a failure now being sent to `peer`, if its HTLC is marked.
    pub(super) fn outgoing(&mut self, key: &HtlcKey, peer: PublicKey) -> Option<&[u8]> {
        let mark = self.0.get_mut(&key.channel_id)?.get_mut(&key.htlc_id)?;
        mark.sent_to = Some(peer);
        Some(&mark.reason)
    }

    /// Drops the marks that the peer's `revoke_and_ack` on this channel acknowledges.
    ///
    /// LDK sends no further `commitment_signed` while one awaits its `revoke_and_ack` (BOLT 2), so
    /// the message acknowledges every failure sent before it.
    pub(super) fn acknowledged(&mut self, channel_id: &ChannelId, peer: PublicKey) {
        let Some(channel) = self.0.get_mut(channel_id) else {
            return;
        };
        channel.retain(|_, mark| mark.sent_to != Some(peer));
        if channel.is_empty() {
            self.0.remove(channel_id);
        }
    }

    /// Drops the marks of a closed channel.
    pub(super) fn forget_channel(&mut self, channel_id: &ChannelId) {
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
    fn mark_is_kept_until_its_failure_is_sent_and_acknowledged() {
        let mut marks = Marks::default();
        marks.insert(key(1, 5), vec![9]);
        marks.acknowledged(&key(1, 5).channel_id, peer(0));
        assert_eq!(
            marks.outgoing(&key(1, 5), peer(0)),
            Some(&[9][..]),
            "kept: not sent yet"
        );
        assert_eq!(
            marks.outgoing(&key(1, 5), peer(0)),
            Some(&[9][..]),
            "retransmitted after a reconnect"
        );
        marks.acknowledged(&key(2, 5).channel_id, peer(0));
        marks.acknowledged(&key(1, 5).channel_id, peer(1));
        let reason = marks.outgoing(&key(1, 5), peer(0));
        assert!(
            reason.is_some(),
            "acknowledgments on other channels or from other peers do not count"
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
    fn closing_a_channel_drops_its_marks() {
        let mut marks = Marks::default();
        marks.insert(key(1, 5), vec![9]);
        marks.forget_channel(&key(1, 5).channel_id);
        assert!(marks.is_empty());
    }

    #[test]
    fn marks_per_channel_are_limited_to_its_htlcs() {
        let mut marks = Marks::default();
        for id in 0..=MAX_PER_CHANNEL as u64 {
            marks.insert(key(1, id), vec![9]);
        }
        assert_eq!(marks.0[&ChannelId([1; 32])].len(), MAX_PER_CHANNEL);
        assert_eq!(marks.outgoing(&key(1, 0), peer(0)), None, "oldest dropped");
        assert!(marks.outgoing(&key(1, 1), peer(0)).is_some());
    }
}
