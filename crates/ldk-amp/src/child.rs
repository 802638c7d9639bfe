//! Children: the preimage and payment hash of a shard.
//!
//! The sender derives a child when it creates a shard. The recipient derives the same child once it has all
//! shares of the set and can reconstruct the root.

use std::fmt;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use lightning::types::payment::{PaymentHash, PaymentPreimage};

use super::Share;

/// The preimage and the payment hash of a shard's HTLC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// The preimage that claims the HTLC.
    pub preimage: PaymentPreimage,
    /// The payment hash of the HTLC.
    pub hash: PaymentHash,
}

impl Child {
    /// Derives the child of `share` and `index` under `root`, as lnd's `amp` package does:
    ///
    /// ```text
    /// preimage = SHA256( root(32) || share(32) || be32(index) )
    /// hash     = SHA256( preimage )
    /// ```
    ///
    /// The index always has four bytes here; in the AMP record its leading zero bytes are dropped.
    pub fn derive(root: &Share, share: &Share, index: u32) -> Self {
        let mut engine = sha256::Hash::engine();
        engine.input(root.as_bytes());
        engine.input(share.as_bytes());
        engine.input(&index.to_be_bytes());
        let preimage = PaymentPreimage(sha256::Hash::from_engine(engine).to_byte_array());
        Self {
            preimage,
            hash: preimage.into(),
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_data::derivation;
    use super::*;

    #[test]
    fn derives_the_published_vectors() {
        for set in &derivation().sets {
            let shares = set.shards.iter().map(|shard| &shard.share);
            let root = shares.fold(Share::ZERO, |root, share| root.xor(share));
            assert_eq!(
                root,
                derivation().root,
                "{}: shares XOR to the root",
                set.name
            );
            for shard in &set.shards {
                let child = Child::derive(&root, &shard.share, shard.index);
                assert_eq!(child.preimage, shard.preimage, "{}", set.name);
                assert_eq!(child.hash, shard.hash, "{}", set.name);
            }
        }
    }

    #[test]
    fn debug_output_hides_the_preimage() {
        let child = Child::derive(&Share::from_bytes([1; 32]), &Share::from_bytes([2; 32]), 3);
        let text = format!("{child:?}");
        assert!(text.contains(&child.hash.to_string()), "{text}");
        assert!(!text.contains(&child.preimage.to_string()), "{text}");
    }

    proptest! {
        #[test]
        fn different_indices_give_different_children(root: [u8; 32], share: [u8; 32], a: u32, b: u32) {
            prop_assume!(a != b);
            let (root, share) = (Share::from_bytes(root), Share::from_bytes(share));
            let (a, b) = (Child::derive(&root, &share, a), Child::derive(&root, &share, b));
            prop_assert_ne!(a.hash, b.hash);
        }
    }
}
