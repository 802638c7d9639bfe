//! Shares: the pieces of a payment's root, combined by XOR.
//!
//! The root is a share as well, the one of a payment with a single shard.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A piece of the root, or the root itself: `root = share_1 ^ ... ^ share_n`.
///
/// All shares of a set together can claim all its HTLCs, so a share is a secret: it is zeroized on drop,
/// not `Copy`, and its `Debug` output is redacted.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Share([u8; 32]);

impl Share {
    /// The neutral element of XOR: the remainder of a root whose shares are all in use.
    pub const ZERO: Self = Self([0; 32]);

    /// Creates a share from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns a reference to the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Copies the bytes for storage; the caller must protect them.
    pub const fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Returns whether all 32 bytes are zero.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 32]
    }

    /// Returns the XOR of two shares.
    pub fn xor(&self, other: &Self) -> Self {
        let mut bytes = self.0;
        for (byte, other) in bytes.iter_mut().zip(other.0) {
            *byte ^= other;
        }
        Self(bytes)
    }

    /// Splits the share into `left`, which must be 32 fresh random bytes, and `right`, so that
    /// `left ^ right == self`.
    pub fn split(&self, left: [u8; 32]) -> (Self, Self) {
        let left = Self(left);
        let right = self.xor(&left);
        (left, right)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn debug_output_hides_the_share() {
        assert_eq!(
            format!("{:?}", Share::from_bytes([0xab; 32])),
            "Share(redacted)"
        );
    }

    proptest! {
        #[test]
        fn split_halves_xor_to_the_whole(whole: [u8; 32], left: [u8; 32]) {
            let whole = Share::from_bytes(whole);
            let (left, right) = whole.split(left);
            prop_assert_eq!(left.xor(&right), whole);
        }

        #[test]
        fn share_xor_itself_is_zero(bytes: [u8; 32]) {
            let share = Share::from_bytes(bytes);
            prop_assert!(share.xor(&share).is_zero());
            prop_assert_eq!(share.xor(&Share::ZERO), share);
        }
    }
}
