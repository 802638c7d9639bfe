//! Splits the sender's root into shares, and reclaims the shares of failed shards.
//!
//! A [`Splitter`] does not need to know the number of shards in advance: each shard but the last gets random
//! bytes, and the last one the rest of the root.

use std::fmt;

use thiserror::Error;

use super::{Child, Share};

/// A shard could not be created. Neither error occurs with working randomness and correct amounts.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SplitError {
    /// The live shards already use the whole root, so there is no share for another one.
    #[error("live shards already use the whole root")]
    NothingLeft,
    /// The random bytes are zero or equal to the remainder: the random number generator is broken.
    #[error("the random share leaves nothing for the other shards")]
    BadRandomness,
}

/// One shard: the contents of its AMP record, and the child that its HTLC pays to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The share for the AMP record.
    pub share: Share,
    /// The child index for the AMP record.
    pub index: u32,
    /// The preimage and the payment hash of the HTLC.
    pub child: Child,
}

/// The root of a payment, and the part of it that is not used by live shards.
///
/// Invariant: `root = remaining ^ (XOR of the shares of all live shards)`, where live means in
/// flight or settled. Nothing remains after the last shard, so the recipient can reconstruct the
/// root from all shares.
#[derive(Clone)]
pub struct Splitter {
    root: Share,
    remaining: Share,
}

impl Splitter {
    /// Creates a splitter for `root`, which must be 32 fresh random bytes.
    pub fn new(root: Share) -> Self {
        Self {
            remaining: root.clone(),
            root,
        }
    }

    /// Restores the state after a restart from the stored root and the shares of live shards.
    pub fn restore<'a>(root: Share, live: impl IntoIterator<Item = &'a Share>) -> Self {
        let remaining = live
            .into_iter()
            .fold(root.clone(), |rest, share| rest.xor(share));
        Self { root, remaining }
    }

    /// Returns the secret from which all preimages of the payment are derived. Store it, but never show it.
    pub fn root(&self) -> &Share {
        &self.root
    }

    /// Creates the next shard.
    ///
    /// `random` must be 32 fresh random bytes and `index` a fresh random number, so that a retried
    /// shard has another payment hash. `last` means that this shard completes the amount in flight
    /// or settled: it gets the whole remainder, and `random` is not used.
    ///
    /// # Errors
    /// If nothing of the root remains, or if `random` is zero or equal to the remainder. The splitter is
    /// then unchanged.
    pub fn next_shard(
        &mut self,
        random: [u8; 32],
        index: u32,
        last: bool,
    ) -> Result<Shard, SplitError> {
        if self.remaining.is_zero() {
            return Err(SplitError::NothingLeft);
        }
        let (share, rest) = match last {
            true => (self.remaining.clone(), Share::ZERO),
            false => self.remaining.split(random),
        };
        if share.is_zero() || (rest.is_zero() && !last) {
            return Err(SplitError::BadRandomness);
        }
        self.remaining = rest;
        let child = Child::derive(&self.root, &share, index);
        Ok(Shard {
            share,
            index,
            child,
        })
    }

    /// Returns the share of a failed shard to the remainder, for later shards.
    pub fn merge_back(&mut self, failed: &Share) {
        self.remaining = self.remaining.xor(failed);
    }
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_data::derivation;
    use super::*;

    fn xor_all<'a>(shards: impl IntoIterator<Item = &'a Shard>) -> Share {
        shards
            .into_iter()
            .fold(Share::ZERO, |sum, shard| sum.xor(&shard.share))
    }

    #[test]
    fn single_shard_gets_the_root_as_share() {
        let root = derivation().root.clone();
        let shard = Splitter::new(root.clone())
            .next_shard([9; 32], 0, true)
            .unwrap();
        assert_eq!(shard.share, root);
        assert_eq!(shard.child.hash, derivation().sets[0].shards[0].hash);
    }

    /// The published sets: three shards, then the second fails and the third is retried.
    #[test]
    fn creates_the_published_sets() {
        let [_, three, retried] = &derivation().sets[..] else {
            panic!("three sets")
        };
        let mut splitter = Splitter::new(derivation().root.clone());
        let mut shards = Vec::new();
        for (i, vector) in three.shards.iter().enumerate() {
            let (random, last) = (vector.share.to_bytes(), i == 2);
            shards.push(splitter.next_shard(random, vector.index, last).unwrap());
            assert_eq!(shards[i].share, vector.share);
            assert_eq!(shards[i].child.hash, vector.hash);
        }
        splitter.merge_back(&shards[1].share);
        splitter.merge_back(&shards[2].share);
        let last = &retried.shards[1];
        let shard = splitter.next_shard([0; 32], last.index, true).unwrap();
        assert_eq!(shard.share, last.share);
        assert_eq!(shard.child.preimage, last.preimage);
    }

    #[test]
    fn no_shard_follows_the_last_until_one_fails() {
        let mut splitter = Splitter::new(Share::from_bytes([1; 32]));
        let last = splitter.next_shard([2; 32], 0, true).unwrap();
        assert_eq!(
            splitter.next_shard([3; 32], 1, false),
            Err(SplitError::NothingLeft)
        );
        assert_eq!(
            splitter.next_shard([3; 32], 1, true),
            Err(SplitError::NothingLeft)
        );
        splitter.merge_back(&last.share);
        assert!(splitter.next_shard([3; 32], 1, true).is_ok());
    }

    #[test]
    fn rejects_broken_randomness_without_changes() {
        let mut splitter = Splitter::new(Share::from_bytes([1; 32]));
        for broken in [[0; 32], [1; 32]] {
            assert_eq!(
                splitter.next_shard(broken, 0, false),
                Err(SplitError::BadRandomness)
            );
        }
        let shard = splitter.next_shard([0; 32], 0, true).unwrap();
        assert_eq!(shard.share, Share::from_bytes([1; 32]));
    }

    proptest! {
        /// Shards are created and some fail, in any order; the live ones and one last shard always
        /// XOR to the root. A splitter restored from stored data continues identically.
        #[test]
        fn live_shards_always_reconstruct_the_root(
            root in any::<[u8; 32]>().prop_filter("zero", |root| *root != [0; 32]),
            steps in prop::collection::vec((any::<[u8; 32]>(), any::<u32>(), any::<u8>()), 0..40),
        ) {
            let root = Share::from_bytes(root);
            let mut splitter = Splitter::new(root.clone());
            let mut live: Vec<Shard> = Vec::new();
            for (random, index, choice) in steps {
                if choice % 3 == 0 && !live.is_empty() {
                    let failed = live.swap_remove(usize::from(choice) % live.len());
                    splitter.merge_back(&failed.share);
                } else if let Ok(shard) = splitter.next_shard(random, index, false) {
                    live.push(shard);
                }
                prop_assert_eq!(xor_all(&live).xor(&splitter.remaining), root.clone());
            }
            let shares = live.iter().map(|shard| &shard.share);
            let mut restored = Splitter::restore(root.clone(), shares);
            let last = splitter.next_shard([7; 32], 7, true);
            prop_assert_eq!(&restored.next_shard([7; 32], 7, true), &last);
            live.push(last.unwrap());
            prop_assert_eq!(xor_all(&live), root);
        }

        #[test]
        fn children_do_not_depend_on_shard_order(
            root in any::<[u8; 32]>().prop_filter("zero", |root| *root != [0; 32]),
            randoms in prop::collection::vec(any::<[u8; 32]>(), 0..12),
            seed: u64,
        ) {
            let mut splitter = Splitter::new(Share::from_bytes(root));
            let mut shards: Vec<Shard> = Vec::new();
            for (index, random) in randoms.into_iter().enumerate() {
                shards.extend(splitter.next_shard(random, index as u32, false));
            }
            shards.push(splitter.next_shard([0; 32], u32::MAX, true).unwrap());
            let turn = seed as usize % shards.len();
            shards.rotate_left(turn);
            let rebuilt = xor_all(&shards);
            for shard in &shards {
                prop_assert_eq!(Child::derive(&rebuilt, &shard.share, shard.index), shard.child);
            }
        }
    }
}
