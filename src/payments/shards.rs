//! Supplies each attempt's payment hash, the only difference between payment kinds once sending has
//! started.

use lightning_types::payment::PaymentHash;

use crate::model::attempt::{AttemptRecord, AttemptState};
use crate::model::payment::PaymentRecord;
use ldk_amp::{Share, SplitError, Splitter};

/// The share and child index of a shard: record 14 without the payment's set_id.
pub type ShardRecord = (Share, u32);

/// The source of a payment's hashes.
#[derive(Debug, Clone)]
pub enum HashSource {
    /// AMP: each attempt has its own hash, derived from a share of the root.
    Amp(Splitter),
    /// A BOLT 11 invoice, keysend, or a hash given by the client: all attempts use this one.
    Same(PaymentHash),
}

/// Randomness for one AMP shard.
pub struct ShardRandomness {
    pub share: [u8; 32],
    pub index: u32,
}

impl HashSource {
    /// Restores the source of a stored payment.
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

    /// Returns the hash of the next attempt; `last` means that this attempt completes the amount.
    ///
    /// # Errors
    /// If an AMP share cannot be split; nothing changes.
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

    /// Makes the share of a failed attempt available to later ones.
    pub(super) fn take_back(&mut self, share: &Share) {
        if let Self::Amp(splitter) = self {
            splitter.merge_back(share);
        }
    }

    /// The largest record 14 that an attempt may need: the child index is not known before its
    /// route is (lnd reserves the same).
    pub(super) fn largest_shard(&self) -> Option<ShardRecord> {
        match self {
            Self::Amp(_) => Some((Share::ZERO, u32::MAX)),
            Self::Same(_) => None,
        }
    }
}
