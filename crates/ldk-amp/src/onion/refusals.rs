//! The failures that refused payloads get, until they are sent.

use std::collections::{BTreeMap, HashMap};

use bitcoin::secp256k1::PublicKey;

use crate::HtlcKey;

/// BOLT 2 allows 483 HTLCs in one direction of a channel. Who sends more that we cannot read, gets
/// LDK's failure for them.
const MAX_PER_PEER: usize = 483;

/// Reasons to send instead of LDK's, by the peer whose HTLC fails.
///
/// A peer's messages fill its own place only, and its disconnection empties it: LDK's failure, which
/// goes out then, is well-formed, too.
#[derive(Default)]
pub struct Refusals(HashMap<PublicKey, BTreeMap<HtlcKey, Vec<u8>>>);

impl Refusals {
    /// Remembers the reason for the failure of this HTLC from `peer`.
    pub fn insert(&mut self, peer: PublicKey, key: HtlcKey, reason: Vec<u8>) {
        let htlcs = self.0.entry(peer).or_default();
        if htlcs.len() < MAX_PER_PEER {
            htlcs.insert(key, reason);
        }
    }

    /// The reason for a failure that goes out to `peer` now.
    pub fn take(&mut self, peer: PublicKey, key: &HtlcKey) -> Option<Vec<u8>> {
        self.0.get_mut(&peer)?.remove(key)
    }

    /// The peer is gone, and with it HTLCs that were not committed: their ids will be used again.
    pub fn forget_peer(&mut self, peer: &PublicKey) {
        self.0.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use lightning::ln::types::ChannelId;

    use super::super::test_data::onions;
    use super::*;

    fn peer(i: usize) -> PublicKey {
        onions()[1].hops[i].packet.public_key.unwrap()
    }

    fn key(htlc_id: u64) -> HtlcKey {
        let channel_id = ChannelId([1; 32]);
        HtlcKey {
            channel_id,
            htlc_id,
        }
    }

    #[test]
    fn a_reason_is_for_its_htlc_and_peer_and_is_sent_once() {
        let mut refusals = Refusals::default();
        refusals.insert(peer(0), key(5), vec![9]);
        assert_eq!(refusals.take(peer(0), &key(6)), None);
        assert_eq!(refusals.take(peer(1), &key(5)), None);
        assert_eq!(refusals.take(peer(0), &key(5)), Some(vec![9]));
        assert_eq!(refusals.take(peer(0), &key(5)), None);
    }

    #[test]
    fn a_disconnected_peer_has_no_reasons_left() {
        let mut refusals = Refusals::default();
        refusals.insert(peer(0), key(5), vec![9]);
        refusals.forget_peer(&peer(0));
        assert_eq!(refusals.take(peer(0), &key(5)), None);
    }

    #[test]
    fn a_peer_fills_no_more_than_its_place() {
        let mut refusals = Refusals::default();
        for id in 0..=MAX_PER_PEER as u64 {
            refusals.insert(peer(0), key(id), vec![9]);
        }
        assert_eq!(refusals.take(peer(0), &key(MAX_PER_PEER as u64)), None);
        assert_eq!(refusals.take(peer(0), &key(0)), Some(vec![9]));
    }
}
