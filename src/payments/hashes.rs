//! Where the payment hash of an attempt comes from: all that tells the kinds of payments apart once
//! they are under way.

use lightning_types::payment::PaymentHash;

use ldk_amp::{Share, SplitError, Splitter};
use crate::storage::payments::{AttemptRecord, AttemptState, PaymentRecord};

/// What goes into record 14 of a shard beside the payment's set_id: its share and its child index.
pub type ShardRecord = (Share, u32);

/// The source of a payment's hashes.
#[derive(Debug, Clone)]
pub enum Hashes {
    /// AMP: each attempt has its own, derived from a share of the root.
    Amp(Splitter),
    /// An ordinary invoice, keysend, or a hash that the caller gave: all attempts pay to this one.
    Same(PaymentHash),
}

/// Randomness for one AMP shard.
pub struct ShardRandomness {
    pub share: [u8; 32],
    pub index: u32,
}

impl Hashes {
    /// Goes on where the stored payment was.
    pub(super) fn restore(record: &PaymentRecord, attempts: &[AttemptRecord]) -> Self {
        let Some(root) = &record.root else {
            return Self::Same(PaymentHash(record.identifier));
        };
        let live = attempts
            .iter()
            .filter(|attempt| attempt.state != AttemptState::Failed);
        let shards = live.filter_map(|attempt| attempt.shard.as_ref());
        let shares: Vec<Share> = shards
            .map(|(share, _)| Share::from_bytes(**share))
            .collect();
        Self::Amp(Splitter::restore(Share::from_bytes(**root), &shares))
    }

    /// For the next attempt; `last` says that with it the whole amount is under way.
    ///
    /// # Errors
    /// If an AMP share cannot be split; nothing changes then.
    pub(super) fn next(
        &mut self,
        random: ShardRandomness,
        last: bool,
    ) -> Result<(PaymentHash, Option<ShardRecord>), SplitError> {
        match self {
            Self::Same(hash) => Ok((*hash, None)),
            Self::Amp(splitter) => {
                let shard = splitter.next_shard(random.share, random.index, last)?;
                Ok((shard.child.hash, Some((shard.share, shard.index))))
            }
        }
    }

    /// The share of an attempt that failed is free for those that follow.
    pub(super) fn take_back(&mut self, share: &Share) {
        if let Self::Amp(splitter) = self {
            splitter.merge_back(share);
        }
    }

    /// The largest record 14 that an attempt may need: the child index is not known before its route
    /// is (lnd reserves as much).
    pub(super) fn largest_shard(&self) -> Option<ShardRecord> {
        match self {
            Self::Amp(_) => Some((Share::ZERO, u32::MAX)),
            Self::Same(_) => None,
        }
    }
}
