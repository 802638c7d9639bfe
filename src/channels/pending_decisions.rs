//! The requests of each peer that wait for a channel acceptor's decision. LDK forgets a request
//! that its peer withdraws, so LDK's own limit does not bound them, and the peer may reuse the
//! temporary channel id.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::sync::lock;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

/// The temporary channel ids of each peer with pending decisions. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingDecisions(Arc<Mutex<HashMap<PublicKey, HashSet<ChannelId>>>>);

/// A pending decision about one channel, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct PendingDecision {
    decisions: PendingDecisions,
    peer: PublicKey,
    channel: ChannelId,
}

impl PendingDecisions {
    /// Adds a channel of this peer. Returns `None` if the peer has `most` already, or if this id is
    /// pending: a decision about the earlier request must not apply to this one.
    pub(super) fn enter(
        &self,
        peer: PublicKey,
        channel: ChannelId,
        most: usize,
    ) -> Option<PendingDecision> {
        let mut peers = self.peers();
        let channels = peers.entry(peer).or_default();
        if channels.len() >= most || !channels.insert(channel) {
            return None;
        }
        Some(PendingDecision {
            decisions: self.clone(),
            peer,
            channel,
        })
    }

    /// Returns whether no decision is pending.
    pub(super) fn is_empty(&self) -> bool {
        self.peers().is_empty()
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<PublicKey, HashSet<ChannelId>>> {
        lock(&self.0)
    }
}

impl Drop for PendingDecision {
    fn drop(&mut self) {
        let mut peers = self.decisions.peers();
        if let Some(channels) = peers.get_mut(&self.peer) {
            channels.remove(&self.channel);
            if channels.is_empty() {
                peers.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::inbound::tests::unknown_peer;

    #[test]
    fn limits_pending_decisions_per_peer_and_keeps_no_state() {
        let decisions = PendingDecisions::default();
        let peer = unknown_peer();
        let enter = |id: u8| decisions.enter(peer, ChannelId([id; 32]), 2);
        let [first, second] = [1, 2].map(|id| enter(id).unwrap());
        assert!(enter(3).is_none());
        drop(first);
        let third = enter(3).unwrap();
        assert!(enter(4).is_none());
        drop((second, third));
        assert!(decisions.is_empty());
    }

    #[test]
    fn rejects_a_channel_id_that_is_already_pending() {
        let decisions = PendingDecisions::default();
        let enter = || decisions.enter(unknown_peer(), ChannelId([1; 32]), 2);
        let first = enter().unwrap();
        assert!(enter().is_none());
        drop(first);
        assert!(enter().is_some());
    }
}
