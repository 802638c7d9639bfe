//! Which channels of each peer wait for a caller's decision. LDK forgets a request that its peer takes back: its
//! own limit does not bound them, and the peer may use the same temporary id again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

/// The temporary ids of each peer that has any. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Undecided(Arc<Mutex<HashMap<PublicKey, HashSet<ChannelId>>>>);

/// One channel; it is decided about when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    undecided: Undecided,
    peer: PublicKey,
    channel: ChannelId,
}

impl Undecided {
    /// One channel more of this peer; `None` if it has `most` already, or this one: the decision about the other
    /// must not be taken for one about this.
    pub(super) fn enter(&self, peer: PublicKey, channel: ChannelId, most: usize) -> Option<Turn> {
        let mut peers = self.peers();
        let channels = peers.entry(peer).or_default();
        if channels.len() >= most || !channels.insert(channel) {
            return None;
        }
        Some(Turn {
            undecided: self.clone(),
            peer,
            channel,
        })
    }

    /// Whether no channel waits.
    pub(super) fn is_empty(&self) -> bool {
        self.peers().is_empty()
    }

    /// Ignores poisoning: no holder of this lock can panic in the middle of a change.
    fn peers(&self) -> MutexGuard<'_, HashMap<PublicKey, HashSet<ChannelId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut peers = self.undecided.peers();
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
    use crate::channels::accept::tests::unknown_peer;

    #[test]
    fn a_peer_has_as_many_turns_as_it_may_and_leaves_nothing() {
        let undecided = Undecided::default();
        let peer = unknown_peer();
        let enter = |id: u8| undecided.enter(peer, ChannelId([id; 32]), 2);
        let [first, second] = [1, 2].map(|id| enter(id).unwrap());
        assert!(enter(3).is_none());
        drop(first);
        let third = enter(3).unwrap();
        assert!(enter(4).is_none());
        drop((second, third));
        assert!(undecided.is_empty());
    }

    #[test]
    fn an_id_is_decided_about_once_at_a_time() {
        let undecided = Undecided::default();
        let enter = || undecided.enter(unknown_peer(), ChannelId([1; 32]), 2);
        let first = enter().unwrap();
        assert!(enter().is_none());
        drop(first);
        assert!(enter().is_some());
    }
}
