//! Failure reasons of HTLCs with rejected payloads, kept until they are sent.

use std::collections::{BTreeMap, HashMap};

use bitcoin::secp256k1::PublicKey;

use crate::HtlcKey;

/// BOLT 2 allows 483 HTLCs per direction of a channel. Beyond that many rejected HTLCs of one peer,
/// LDK's own failure is sent.
const MAX_PER_PEER: usize = 483;

/// Failure reasons that replace LDK's, by the peer whose HTLC fails.
///
/// The limit is per peer, and a peer's reasons are dropped when it disconnects. LDK's own failure,
/// sent in both cases, is also well-formed.
#[derive(Default)]
pub(super) struct Refusals(HashMap<PublicKey, BTreeMap<HtlcKey, Vec<u8>>>);

impl Refusals {
    /// Stores the reason with which this HTLC from `peer` is to fail.
    pub(super) fn insert(&mut self, peer: PublicKey, key: HtlcKey, reason: Vec<u8>) {
        let htlcs = self.0.entry(peer).or_default();
        if htlcs.len() < MAX_PER_PEER {
            htlcs.insert(key, reason);
        }
    }

    /// Removes and returns the reason for a failure now being sent to `peer`.
    pub(super) fn take(&mut self, peer: PublicKey, key: &HtlcKey) -> Option<Vec<u8>> {
        self.0.get_mut(&peer)?.remove(key)
    }

    /// Drops a disconnected peer's reasons. Its uncommitted HTLCs are gone and their ids are reused.
    pub(super) fn forget_peer(&mut self, peer: &PublicKey) {
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
    fn reason_is_returned_once_for_its_htlc_and_peer() {
        let mut refusals = Refusals::default();
        refusals.insert(peer(0), key(5), vec![9]);
        assert_eq!(refusals.take(peer(0), &key(6)), None);
        assert_eq!(refusals.take(peer(1), &key(5)), None);
        assert_eq!(refusals.take(peer(0), &key(5)), Some(vec![9]));
        assert_eq!(refusals.take(peer(0), &key(5)), None);
    }

    #[test]
    fn disconnection_drops_the_peers_reasons() {
        let mut refusals = Refusals::default();
        refusals.insert(peer(0), key(5), vec![9]);
        refusals.forget_peer(&peer(0));
        assert_eq!(refusals.take(peer(0), &key(5)), None);
    }

    #[test]
    fn reasons_per_peer_are_limited() {
        let mut refusals = Refusals::default();
        for id in 0..=MAX_PER_PEER as u64 {
            refusals.insert(peer(0), key(id), vec![9]);
        }
        assert_eq!(refusals.take(peer(0), &key(MAX_PER_PEER as u64)), None);
        assert_eq!(refusals.take(peer(0), &key(0)), Some(vec![9]));
    }
}
