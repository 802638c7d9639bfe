//! The sender's side: makes LDK write records 8 (MPP) and 14 (AMP) into the final payload.

use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::util::ser::{Readable, Writeable};
use thiserror::Error;
use zeroize::Zeroizing;

use super::tlv::{self, Record};
use crate::{AMP_RECORD_TYPE, AmpRecord, MPP_RECORD_TYPE, MppRecord};

/// Type of `payment_metadata` (BOLT 4).
const METADATA_TYPE: u64 = 16;
/// The first custom record type; lower types are reserved for the BOLTs.
const FIRST_CUSTOM_TYPE: u64 = 65_536;
/// Key of the custom records in LDK's serialization of `RecipientOnionFields`.
const LDK_CUSTOM_TLVS: u64 = 1;

/// The records cannot be sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RecipientError {
    /// The type of a custom record is reserved for the BOLTs.
    #[error("custom record {0} is not allowed: use a type of 65536 or above")]
    ReservedType(u64),
    /// The type occurs more than once.
    #[error("duplicate custom record {0}")]
    DuplicateType(u64),
    /// The records are longer than an onion packet.
    #[error("the records are longer than an onion packet")]
    TooLarge,
}

/// Builds the fields of a part's final payload: the MPP record, the AMP record of a shard, the
/// invoice's payment metadata and custom records in any order.
///
/// LDK's constructors reject record types below 65536, but LDK writes whatever it deserializes, sorted
/// and after its own records 2, 4 and 16. The metadata is therefore also passed as a plain record:
/// from LDK's own field it would be written before records 8 and 14.
///
/// # Errors
/// If a custom record's type is below 65536 or occurs twice, or if the records are too long.
pub fn recipient_fields(
    mpp: &MppRecord,
    amp: Option<&AmpRecord>,
    metadata: Option<&[u8]>,
    custom: &[(u64, Vec<u8>)],
) -> Result<RecipientOnionFields, RecipientError> {
    fields(Some(mpp), amp, metadata, custom)
}

/// Builds the fields of a single-part payment without an MPP record: a keysend, whose preimage is
/// custom record 5482373484 as in lnd, or a payment to a bare hash.
///
/// # Errors
/// Like [`recipient_fields`].
pub fn fields_without_mpp(
    metadata: Option<&[u8]>,
    custom: &[(u64, Vec<u8>)],
) -> Result<RecipientOnionFields, RecipientError> {
    fields(None, None, metadata, custom)
}

fn fields(
    mpp: Option<&MppRecord>,
    amp: Option<&AmpRecord>,
    metadata: Option<&[u8]>,
    custom: &[(u64, Vec<u8>)],
) -> Result<RecipientOnionFields, RecipientError> {
    let custom = ascending(custom)?;
    let mut list = Zeroizing::new(Vec::new());
    if let Some(mpp) = mpp {
        ldk_record(MPP_RECORD_TYPE, &mpp.encode(), &mut list);
    }
    if let Some(amp) = amp {
        ldk_record(AMP_RECORD_TYPE, &amp.encode(), &mut list);
    }
    if let Some(metadata) = metadata {
        ldk_record(METADATA_TYPE, metadata, &mut list);
    }
    for (kind, value) in &custom {
        ldk_record(*kind, value, &mut list);
    }
    deserialize(&list).ok_or(RecipientError::TooLarge)
}

/// Appends a custom record in LDK's serialization: `be64(type)`, then the value as LDK encodes a
/// vector.
fn ldk_record(kind: u64, value: &[u8], list: &mut Vec<u8>) {
    list.extend_from_slice(&kind.to_be_bytes());
    let value = Zeroizing::new(value.to_vec());
    list.extend_from_slice(&Zeroizing::new(value.encode()));
}

fn deserialize(custom_tlvs: &[u8]) -> Option<RecipientOnionFields> {
    let mut fields = Zeroizing::new(Vec::new());
    let record = Record {
        kind: LDK_CUSTOM_TLVS,
        value: custom_tlvs,
    };
    tlv::write(&[record], &mut fields);
    let mut bytes = Zeroizing::new(Vec::new());
    tlv::write_big_size(fields.len() as u64, &mut bytes);
    bytes.extend_from_slice(&fields);
    RecipientOnionFields::read(&mut &bytes[..]).ok()
}

fn ascending(custom: &[(u64, Vec<u8>)]) -> Result<Vec<(u64, Vec<u8>)>, RecipientError> {
    let mut records = custom.to_vec();
    records.sort_by_key(|(kind, _)| *kind);
    if let Some((kind, _)) = records
        .first()
        .filter(|(kind, _)| *kind < FIRST_CUSTOM_TYPE)
    {
        return Err(RecipientError::ReservedType(*kind));
    }
    match records.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(RecipientError::DuplicateType(pair[0].0)),
        None => Ok(records),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
    use lightning::ln::create_payment_onion;
    use lightning::routing::router::{Path, RouteHop};
    use lightning::types::features::{ChannelFeatures, NodeFeatures};
    use lightning::types::payment::PaymentHash;
    use lightning::util::test_utils::TestNodeSigner;

    use super::super::packet::{self, HopSecret};
    use super::*;
    use crate::{PaymentAddr, SetId, Share};

    const HASH: PaymentHash = PaymentHash([3; 32]);

    fn mpp() -> MppRecord {
        MppRecord {
            payment_addr: PaymentAddr::from_bytes([1; 32]),
            total_msat: 70_000,
        }
    }

    fn amp() -> AmpRecord {
        AmpRecord {
            share: Share::from_bytes([2; 32]),
            set_id: SetId::from_bytes([4; 32]),
            child_index: u32::MAX,
        }
    }

    fn fields(custom: &[(u64, Vec<u8>)]) -> Result<RecipientOnionFields, RecipientError> {
        recipient_fields(&mpp(), Some(&amp()), Some(&[7, 7]), custom)
    }

    /// Returns the records that the receiver of a one-hop LDK payment with these fields gets.
    fn sent(fields: &RecipientOnionFields) -> Vec<(u64, Vec<u8>)> {
        let secp = Secp256k1::new();
        let receiver = SecretKey::from_slice(&[0x31; 32]).unwrap();
        let hop = RouteHop {
            pubkey: PublicKey::from_secret_key(&secp, &receiver),
            node_features: NodeFeatures::empty(),
            short_channel_id: 1,
            channel_features: ChannelFeatures::empty(),
            fee_msat: 40_000,
            cltv_expiry_delta: 80,
            maybe_announced_channel: true,
        };
        let path = Path {
            hops: vec![hop],
            blinded_tail: None,
        };
        let session = SecretKey::from_slice(&[0x32; 32]).unwrap();
        let (packet, ..) = create_payment_onion(
            &secp, &path, &session, 40_000, fields, 800_000, &HASH, &None, None, [5; 32],
        )
        .unwrap();
        let signer = TestNodeSigner::new(receiver);
        let secret = HopSecret::shared(&signer, &packet.public_key.unwrap()).unwrap();
        let payload = packet::open(&secret, &packet, &HASH).unwrap();
        let records = payload.records().unwrap();
        records
            .iter()
            .map(|record| (record.kind, record.value.to_vec()))
            .collect()
    }

    /// Detects an LDK release that serializes these fields differently.
    #[test]
    fn ldk_writes_all_records_in_order() {
        let custom = [
            (34_349_334, b"hi".to_vec()),
            (65_536, vec![]),
            (5_482_373_484, vec![9; 32]),
        ];
        let records = sent(&fields(&custom).unwrap());
        let kinds: Vec<_> = records.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [2, 4, 8, 14, 16, 65_536, 34_349_334, 5_482_373_484]);
        assert_eq!(MppRecord::decode(&records[2].1), Ok(mpp()));
        assert_eq!(AmpRecord::decode(&records[3].1), Ok(amp()));
        assert_eq!(records[4].1, [7, 7]);
        assert_eq!(records[6].1, b"hi");
    }

    #[test]
    fn keysend_carries_its_preimage_and_no_mpp_record() {
        let custom = [(5_482_373_484, vec![9; 32]), (34_349_334, b"hi".to_vec())];
        let records = sent(&fields_without_mpp(None, &custom).unwrap());
        let kinds: Vec<_> = records.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [2, 4, 34_349_334, 5_482_373_484]);
        assert_eq!(records[3].1, [9; 32]);
    }

    #[test]
    fn rejects_reserved_and_duplicate_types() {
        for kind in [0, 8, 14, 65_535] {
            let custom = [(700_001, vec![]), (kind, vec![])];
            assert_eq!(fields(&custom), Err(RecipientError::ReservedType(kind)));
        }
        let custom = [(65_537, vec![1]), (65_538, vec![]), (65_537, vec![2])];
        assert_eq!(fields(&custom), Err(RecipientError::DuplicateType(65_537)));
    }

    #[test]
    fn fields_survive_ldks_serialization() {
        let fields = fields(&[(65_537, vec![1])]).unwrap();
        let bytes = fields.encode();
        assert_eq!(RecipientOnionFields::read(&mut &bytes[..]).unwrap(), fields);
    }
}
