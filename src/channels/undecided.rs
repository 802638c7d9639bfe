//! How many channels of each peer wait for a caller's decision: LDK forgets a request that its peer takes back,
//! so its own limit does not bound them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::secp256k1::PublicKey;

/// The count of each peer that has any. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Undecided(Arc<Mutex<HashMap<PublicKey, usize>>>);

/// One channel; it is decided about when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    undecided: Undecided,
    peer: PublicKey,
}

impl Undecided {
    /// One channel more of this peer; `None` if it has `most` already.
    pub(super) fn enter(&self, peer: PublicKey, most: usize) -> Option<Turn> {
        let mut counts = self.counts();
        let count = counts.get(&peer).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        counts.insert(peer, count + 1);
        Some(Turn {
            undecided: self.clone(),
            peer,
        })
    }

    /// No code that holds this lock can panic halfway through a change.
    fn counts(&self) -> MutexGuard<'_, HashMap<PublicKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.undecided.counts();
        match counts.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::accept::tests::stranger;

    #[test]
    fn a_peer_has_as_many_turns_as_it_may_and_leaves_nothing() {
        let undecided = Undecided::default();
        let peer = stranger();
        let [first, second] = [1, 2].map(|_| undecided.enter(peer, 2).unwrap());
        assert!(undecided.enter(peer, 2).is_none());
        drop(first);
        let third = undecided.enter(peer, 2).unwrap();
        assert!(undecided.enter(peer, 2).is_none());
        drop((second, third));
        assert!(undecided.counts().is_empty());
    }
}
