//! Opens this node's layer of an onion packet and reseals a final hop (BOLT 4, Sphinx).
//!
//! A resealed packet keeps its ephemeral key, and with it the secret shared with the sender, so the
//! sender can still decrypt any failure that LDK returns.

use std::ops::Range;

use bitcoin::secp256k1::PublicKey;
use chacha20::cipher::StreamCipher;
use chacha20::{ChaCha20, KeyIvInit};
use lightning::ln::msgs::OnionPacket;
use lightning::sign::{NodeSigner, Recipient};
use lightning::types::payment::PaymentHash;
use thiserror::Error;
use zeroize::Zeroizing;

use super::hmac;
use super::tlv::{self, Record, TlvError};

const HMAC_LEN: usize = 32;
const HOP_DATA_LEN: usize = 1300;
/// The only version of the onion packet.
const VERSION: u8 = 0;

/// The packet cannot be opened. LDK itself fails such HTLCs.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// The version is not 0.
    #[error("unknown onion packet version {0}")]
    Version(u8),
    /// The packet is not for this node and payment hash, or was modified.
    #[error("invalid onion packet HMAC")]
    Hmac,
    /// The payload's length exceeds the packet.
    #[error("the hop payload is truncated")]
    Length,
}

/// The records do not fit into the 1300 bytes of a packet.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a payload of {0} bytes does not fit into the onion")]
pub struct TooLarge(usize);

/// The secret shared by the sender and one hop; all keys of the hop derive from it.
pub struct HopSecret(Zeroizing<[u8; 32]>);

impl HopSecret {
    /// Computes the ECDH of the node's key and the packet's ephemeral key. Returns `None` if the
    /// signer fails.
    pub fn shared<S: NodeSigner + ?Sized>(signer: &S, ephemeral_key: &PublicKey) -> Option<Self> {
        let mut secret = signer.ecdh(Recipient::Node, ephemeral_key, None).ok()?;
        let bytes = Zeroizing::new(secret.secret_bytes());
        secret.non_secure_erase();
        Some(Self(bytes))
    }

    /// Derives the hop's key for one purpose: `rho`, `mu`, `um` or `ammag`.
    pub(super) fn key(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hmac::hmac(purpose, &[&*self.0]))
    }

    /// Encrypts or decrypts `data` with the key stream for `purpose`.
    pub(super) fn crypt(&self, purpose: &[u8], data: &mut [u8]) {
        let key = self.key(purpose);
        ChaCha20::new((&*key).into(), &[0; 12].into()).apply_keystream(data);
    }
}

/// The decrypted payload for this hop. It may contain an AMP share, so it is zeroized on drop.
pub struct Payload {
    plain: Zeroizing<Vec<u8>>,
    stream: Range<usize>,
    is_final: bool,
}

impl Payload {
    /// Returns whether this node is the final hop.
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Returns the payload's records.
    ///
    /// # Errors
    /// If the payload is not a canonical TLV stream.
    pub fn records(&self) -> Result<Vec<Record<'_>>, TlvError> {
        tlv::parse(&self.plain[self.stream.clone()])
    }
}

/// Opens this hop's layer of a received packet.
///
/// # Errors
/// If the version is unknown, the HMAC does not match or the payload is truncated.
pub fn open(
    secret: &HopSecret,
    packet: &OnionPacket,
    payment_hash: &PaymentHash,
) -> Result<Payload, OpenError> {
    if packet.version != VERSION {
        return Err(OpenError::Version(packet.version));
    }
    if !hmac::same(
        &packet_hmac(secret, &packet.hop_data, payment_hash),
        &packet.hmac,
    ) {
        return Err(OpenError::Hmac);
    }
    let mut plain = Zeroizing::new(packet.hop_data.to_vec());
    secret.crypt(b"rho", &mut plain);
    let (stream, is_final) = own_stream(&plain)?;
    Ok(Payload {
        plain,
        stream,
        is_final,
    })
}

/// Locates the TLV stream and returns whether the next hop's HMAC after it is all zero.
fn own_stream(plain: &[u8]) -> Result<(Range<usize>, bool), OpenError> {
    let mut rest = plain;
    let length = tlv::read_big_size(&mut rest).map_err(|_| OpenError::Length)?;
    let length = usize::try_from(length).map_err(|_| OpenError::Length)?;
    let after = rest.get(length..).ok_or(OpenError::Length)?;
    let next_hmac = after.first_chunk::<HMAC_LEN>().ok_or(OpenError::Length)?;
    let start = plain.len() - rest.len();
    Ok((start..start + length, *next_hmac == [0; HMAC_LEN]))
}

/// Seals the records as the final payload of a packet with this ephemeral key.
///
/// The records must be in ascending order.
///
/// # Errors
/// If the records do not fit.
pub fn seal(
    secret: &HopSecret,
    ephemeral_key: PublicKey,
    payment_hash: &PaymentHash,
    records: &[Record<'_>],
) -> Result<OnionPacket, TooLarge> {
    let data = final_hop_data(records)?;
    Ok(seal_bytes(secret, ephemeral_key, payment_hash, &data))
}

/// Seals these bytes, at most 1300, padded with zeros.
pub(super) fn seal_bytes(
    secret: &HopSecret,
    ephemeral_key: PublicKey,
    payment_hash: &PaymentHash,
    plain: &[u8],
) -> OnionPacket {
    let mut hop_data = [0; HOP_DATA_LEN];
    hop_data[..plain.len()].copy_from_slice(plain);
    secret.crypt(b"rho", &mut hop_data);
    let hmac = packet_hmac(secret, &hop_data, payment_hash);
    OnionPacket {
        version: VERSION,
        public_key: Ok(ephemeral_key),
        hop_data,
        hmac,
    }
}

/// Returns the start of the plaintext: payload length and records. The final hop's zero HMAC and zero
/// padding follow; no later hop could learn anything from the padding.
fn final_hop_data(records: &[Record<'_>]) -> Result<Zeroizing<Vec<u8>>, TooLarge> {
    // Full capacity up front: reallocation would leave copies of secrets in memory.
    let capacity: usize = records.iter().map(|record| record.value.len() + 18).sum();
    let mut stream = Zeroizing::new(Vec::with_capacity(capacity));
    tlv::write(records, &mut stream);
    let mut data = Zeroizing::new(Vec::with_capacity(HOP_DATA_LEN.max(9 + stream.len())));
    tlv::write_big_size(stream.len() as u64, &mut data);
    data.extend_from_slice(&stream);
    if data.len() + HMAC_LEN > HOP_DATA_LEN {
        return Err(TooLarge(data.len()));
    }
    Ok(data)
}

fn packet_hmac(secret: &HopSecret, hop_data: &[u8], payment_hash: &PaymentHash) -> [u8; 32] {
    hmac::hmac(&*secret.key(b"mu"), &[hop_data, &payment_hash.0])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lightning::util::test_utils::TestNodeSigner;
    use proptest::prelude::*;

    use super::super::test_data::{VectorOnion, onions};
    use super::*;

    const HASH: PaymentHash = PaymentHash([3; 32]);

    fn secret() -> HopSecret {
        HopSecret(Zeroizing::new([9; 32]))
    }

    fn ephemeral_key() -> PublicKey {
        onions()[0].hops[0].packet.public_key.unwrap()
    }

    fn last_secret(onion: &VectorOnion) -> HopSecret {
        let last = onion.hops.last().unwrap();
        let signer = TestNodeSigner::new(last.private_key);
        HopSecret::shared(&signer, &last.packet.public_key.unwrap()).unwrap()
    }

    #[test]
    fn recorded_onions_open_at_their_final_hop() {
        for onion in onions() {
            let last = onion.hops.last().unwrap();
            let payload = open(&last_secret(onion), &last.packet, &onion.payment_hash).unwrap();
            assert_eq!(
                payload.plain[payload.stream.clone()],
                last.payload,
                "{}",
                onion.name
            );
            assert!(payload.records().is_ok(), "{}", onion.name);
            assert!(payload.is_final(), "{}", onion.name);
        }
    }

    #[test]
    fn recorded_onions_are_forwards_at_intermediate_hops() {
        let mut seen = 0;
        for onion in onions() {
            for hop in onion.hops.split_last().unwrap().1 {
                let key = hop.packet.public_key.unwrap();
                let signer = TestNodeSigner::new(hop.private_key);
                let secret = HopSecret::shared(&signer, &key).unwrap();
                let payload = open(&secret, &hop.packet, &onion.payment_hash).unwrap();
                assert!(!payload.is_final(), "{}", onion.name);
                assert!(payload.records().is_ok(), "{}", onion.name);
                seen += 1;
            }
        }
        assert!(seen > 3);
    }

    #[test]
    fn rejects_packets_with_another_hash_key_byte_or_version() {
        let onion = &onions()[0];
        let packet = &onion.hops[0].packet;
        let secret = last_secret(onion);
        assert_eq!(open(&secret, packet, &HASH).err(), Some(OpenError::Hmac));
        let other = HopSecret(Zeroizing::new([1; 32]));
        assert_eq!(
            open(&other, packet, &onion.payment_hash).err(),
            Some(OpenError::Hmac)
        );
        let mut corrupted = packet.clone();
        corrupted.hop_data[1299] ^= 1;
        assert_eq!(
            open(&secret, &corrupted, &onion.payment_hash).err(),
            Some(OpenError::Hmac)
        );
        let versioned = OnionPacket {
            version: 1,
            ..packet.clone()
        };
        let error = open(&secret, &versioned, &onion.payment_hash).err();
        assert_eq!(error, Some(OpenError::Version(1)));
    }

    #[test]
    fn rejects_payloads_that_leave_no_room_for_the_hmac() {
        let seal_value = |length| {
            let value = vec![1; length];
            let records = [Record {
                kind: 1,
                value: &value,
            }];
            seal(&secret(), ephemeral_key(), &HASH, &records).err()
        };
        // 3 bytes of payload length, 1 of type, 3 of record length, 32 of HMAC.
        let largest = HOP_DATA_LEN - HMAC_LEN - 3 - 1 - 3;
        assert_eq!(seal_value(largest), None);
        assert_eq!(
            seal_value(largest + 1),
            Some(TooLarge(HOP_DATA_LEN - HMAC_LEN + 1))
        );
        assert!(seal_value(HOP_DATA_LEN * 2).is_some());
    }

    #[test]
    fn rejects_payload_lengths_beyond_the_packet() {
        for start in [
            &[0xfd, 0x05, 0x14][..],
            &[0xfd, 0x04, 0xf2],
            &[0xff; 9],
            &[0xfd, 0, 1],
        ] {
            let mut plain = vec![0; HOP_DATA_LEN];
            plain[..start.len()].copy_from_slice(start);
            assert_eq!(own_stream(&plain), Err(OpenError::Length), "{start:?}");
        }
        assert_eq!(own_stream(&[]), Err(OpenError::Length));
        assert_eq!(own_stream(&[0; 33]), Ok((1..1, true)));
    }

    proptest! {
        #[test]
        fn sealed_records_round_trip(
            records in prop::collection::btree_map(
                any::<u64>(), prop::collection::vec(any::<u8>(), 0..200), 0..5)
        ) {
            let borrowed: Vec<_> =
                records.iter().map(|(kind, value)| Record { kind: *kind, value }).collect();
            let packet = seal(&secret(), ephemeral_key(), &HASH, &borrowed).unwrap();
            prop_assert_eq!(packet.public_key, Ok(ephemeral_key()));
            let payload = open(&secret(), &packet, &HASH).unwrap();
            let opened: BTreeMap<_, _> = payload.records().unwrap().iter()
                .map(|record| (record.kind, record.value.to_vec())).collect();
            prop_assert_eq!(opened, records);
        }

        #[test]
        fn random_plaintext_does_not_panic(plain in prop::collection::vec(any::<u8>(), 0..1300)) {
            if let Ok((stream, is_final)) = own_stream(&plain) {
                let _ = Payload { plain: Zeroizing::new(plain), stream, is_final }.records();
            }
        }
    }
}
