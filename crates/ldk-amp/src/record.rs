//! The two onion records of an AMP shard: AMP (type 14) and MPP (type 8).
//!
//! This module encodes and decodes their values; the type and length are part of the surrounding TLV stream.

use thiserror::Error;
use zeroize::Zeroizing;

use super::tu64::{self, TruncatedError};
use super::{PaymentAddr, SetId, Share};

/// Type of the AMP record in a final hop's payload (lnd, `record/amp.go`).
pub const AMP_RECORD_TYPE: u64 = 14;
/// Type of the MPP record in a final hop's payload (BOLT 4, `payment_data`).
pub const MPP_RECORD_TYPE: u64 = 8;

const ID_LEN: usize = 32;
const AMP_FIXED_LEN: usize = 2 * ID_LEN;

/// The record is malformed and must be rejected (BOLT 4).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// The AMP record has this length in bytes.
    #[error("AMP record has {0} bytes instead of 64 to 68")]
    AmpLength(usize),
    /// The MPP record has this length in bytes.
    #[error("MPP record has {0} bytes instead of 32 to 40")]
    MppLength(usize),
    /// The integer at the end of the record has a leading zero byte.
    #[error("integer in a record is not minimally encoded: leading zero byte")]
    NotMinimal,
}

/// The AMP record: the share, set and index of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmpRecord {
    /// The shard's share of the root.
    pub share: Share,
    /// The payment that the shard belongs to.
    pub set_id: SetId,
    /// Makes the shard's preimage unique. Any value is valid; lnd chooses it at random.
    pub child_index: u32,
}

impl AmpRecord {
    /// The maximum length of an encoded value in bytes, to reserve space before the index is known.
    pub const MAX_LEN: usize = AMP_FIXED_LEN + size_of::<u32>();

    /// Encodes `share || set_id || tu32(child_index)`. The result is zeroized on drop, because the share
    /// is a secret.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut value = Zeroizing::new(Vec::with_capacity(Self::MAX_LEN));
        value.extend_from_slice(self.share.as_bytes());
        value.extend_from_slice(self.set_id.as_bytes());
        value.extend_from_slice(&tu64::encode(self.child_index.into()));
        value
    }

    /// Decodes a value.
    ///
    /// # Errors
    /// If the value is not 64 to 68 bytes long or the index has a leading zero byte.
    pub fn decode(value: &[u8]) -> Result<Self, RecordError> {
        let length = RecordError::AmpLength(value.len());
        let (share, rest) = value.split_first_chunk::<ID_LEN>().ok_or(length)?;
        let (set_id, index) = rest.split_first_chunk::<ID_LEN>().ok_or(length)?;
        Ok(Self {
            share: Share::from_bytes(*share),
            set_id: SetId::from_bytes(*set_id),
            child_index: tu64::decode_u32(index).map_err(|error| number_error(error, length))?,
        })
    }
}

/// The MPP record: the invoice to pay, and the total of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MppRecord {
    /// The payment address of the invoice.
    pub payment_addr: PaymentAddr,
    /// The amount of the whole payment in msat, the same in every shard of a set.
    pub total_msat: u64,
}

impl MppRecord {
    /// Encodes `payment_addr || tu64(total_msat)`.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = self.payment_addr.as_bytes().to_vec();
        value.extend_from_slice(&tu64::encode(self.total_msat));
        value
    }

    /// Decodes a value.
    ///
    /// # Errors
    /// If the value is not 32 to 40 bytes long or the total has a leading zero byte.
    pub fn decode(value: &[u8]) -> Result<Self, RecordError> {
        let length = RecordError::MppLength(value.len());
        let (payment_addr, total) = value.split_first_chunk::<ID_LEN>().ok_or(length)?;
        Ok(Self {
            payment_addr: PaymentAddr::from_bytes(*payment_addr),
            total_msat: tu64::decode_u64(total).map_err(|error| number_error(error, length))?,
        })
    }
}

/// Maps the error of the trailing integer. If the integer is too long, so is the record.
fn number_error(error: TruncatedError, too_long: RecordError) -> RecordError {
    match error {
        TruncatedError::TooLong => too_long,
        TruncatedError::NotMinimal => RecordError::NotMinimal,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_data::derivation;
    use super::*;

    #[test]
    fn published_records_round_trip() {
        for shard in derivation().sets.iter().flat_map(|set| &set.shards) {
            let record = AmpRecord::decode(&shard.record).unwrap();
            assert_eq!(record.share, shard.share);
            assert_eq!(record.set_id, derivation().set_id);
            assert_eq!(record.child_index, shard.index);
            assert_eq!(*record.encode(), shard.record);
        }
    }

    #[test]
    fn rejects_the_published_bad_records() {
        let expected = [
            RecordError::AmpLength(63),
            RecordError::AmpLength(69),
            RecordError::NotMinimal,
        ];
        assert_eq!(derivation().bad_records.len(), expected.len());
        for ((name, value), error) in derivation().bad_records.iter().zip(expected) {
            assert_eq!(AmpRecord::decode(value), Err(error), "{name}");
        }
    }

    /// The bytes of lnd's unit test "final hop with amp".
    #[test]
    fn decodes_the_example_of_lnd() {
        let value = [&[0x12; 32][..], &[0x13; 32], &[9]].concat();
        let record = AmpRecord::decode(&value).unwrap();
        assert_eq!(record.share, Share::from_bytes([0x12; 32]));
        assert_eq!(record.set_id, SetId::from_bytes([0x13; 32]));
        assert_eq!(record.child_index, 9);
    }

    #[test]
    fn rejects_mpp_records_of_wrong_length() {
        for length in [0, 31, 41, 100] {
            let error = Err(RecordError::MppLength(length));
            assert_eq!(MppRecord::decode(&vec![1; length]), error);
        }
        assert_eq!(MppRecord::decode(&[0; 33]), Err(RecordError::NotMinimal));
        assert_eq!(MppRecord::decode(&[0; 32]).unwrap().total_msat, 0);
    }

    proptest! {
        #[test]
        fn amp_records_round_trip(share: [u8; 32], set_id: [u8; 32], bits in 0..=32u32, raw: u32) {
            let child_index = raw.checked_shr(bits).unwrap_or(0);
            let share = Share::from_bytes(share);
            let record = AmpRecord { share, set_id: SetId::from_bytes(set_id), child_index };
            let value = record.encode();
            prop_assert!((64..=AmpRecord::MAX_LEN).contains(&value.len()));
            prop_assert_eq!(AmpRecord::decode(&value), Ok(record));
        }

        #[test]
        fn mpp_records_round_trip(addr: [u8; 32], bits in 0..=64u32, raw: u64) {
            let total_msat = raw.checked_shr(bits).unwrap_or(0);
            let record = MppRecord { payment_addr: PaymentAddr::from_bytes(addr), total_msat };
            prop_assert_eq!(MppRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn decoded_records_encode_to_the_same_bytes(
            value in prop::collection::vec(any::<u8>(), 0..80)
        ) {
            if let Ok(record) = AmpRecord::decode(&value) {
                prop_assert_eq!(&*record.encode(), &value);
            }
            if let Ok(record) = MppRecord::decode(&value) {
                prop_assert_eq!(record.encode(), value);
            }
        }
    }
}
