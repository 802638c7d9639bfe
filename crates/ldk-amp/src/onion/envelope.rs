//! The envelope: AMP and MPP records taken from an onion, carried through LDK as a custom record.
//!
//! LDK returns custom records in `Event::PaymentClaimable` and keeps them across restarts. An HMAC
//! tag under a node secret binds the envelope to the payment hash, so senders cannot forge one. An
//! HTLC without a valid tag is not treated as AMP.

use std::fmt;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hmac;
use super::tlv::{self, Record};
use crate::{AmpRecord, HtlcKey, MppRecord};

/// TLV type of the record that carries the envelope: "ampe" in ASCII. It is odd, so LDK may ignore
/// it, and in the custom range (>= 65536). The record never leaves this node.
pub const ENVELOPE_TYPE: u64 = 0x616d_7065;

/// Version of the envelope's layout. After an upgrade LDK may still hold envelopes of an older version.
const VERSION: u8 = 1;
const TAG_LEN: usize = 32;

/// The HMAC key of the tag. Its holder can forge AMP HTLCs, so it must stay secret.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct EnvelopeKey([u8; 32]);

impl EnvelopeKey {
    const LABEL: &'static [u8] = b"ampd onion envelope v1";

    /// Derives the key from the node's seed, so that it is the same after every restart.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(hmac::hmac(seed, &[Self::LABEL]))
    }
}

impl fmt::Debug for EnvelopeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvelopeKey(redacted)")
    }
}

/// The parts of a received AMP HTLC that LDK would otherwise lose.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The MPP record (8). As in lnd, decoding accepts an AMP HTLC without it; the recipient must then
    /// fail the HTLC.
    pub mpp: Option<MppRecord>,
    /// The AMP record (14).
    pub amp: AmpRecord,
    /// The channel that carries the HTLC.
    pub channel_id: ChannelId,
    /// The HTLC's id on this channel (BOLT 2).
    pub htlc_id: u64,
    /// Block height at which the HTLC expires.
    pub cltv_expiry: u32,
    /// The onion's ephemeral key, from which the shared secret with the sender is derived again.
    pub ephemeral_key: PublicKey,
    /// The sender's custom records that LDK would interpret (such as a keysend preimage) but that
    /// have no meaning in an AMP payment, by ascending type.
    pub hidden: Vec<(u64, Vec<u8>)>,
}

impl Envelope {
    /// Returns the HTLC's channel and id.
    pub fn key(&self) -> HtlcKey {
        HtlcKey {
            channel_id: self.channel_id,
            htlc_id: self.htlc_id,
        }
    }

    /// Finds and verifies the envelope among the custom records of `Event::PaymentClaimable`.
    ///
    /// Returns `None` if there is none or if this node did not create it for this payment hash.
    pub fn open(
        key: &EnvelopeKey,
        payment_hash: &PaymentHash,
        custom_tlvs: &[(u64, Vec<u8>)],
    ) -> Option<Self> {
        let (_, value) = custom_tlvs
            .iter()
            .find(|(kind, _)| *kind == ENVELOPE_TYPE)?;
        let (body, tag) = value.split_last_chunk::<TAG_LEN>()?;
        if !hmac::same(&Self::tag(key, payment_hash, body), tag) {
            return None;
        }
        Self::read(body)
    }

    /// Returns the record's value, including the tag for this payment hash.
    pub fn seal(&self, key: &EnvelopeKey, payment_hash: &PaymentHash) -> Zeroizing<Vec<u8>> {
        let mut value = self.write();
        let tag = Self::tag(key, payment_hash, &value);
        value.extend_from_slice(&tag);
        value
    }

    /// Returns the custom records as sent: LDK's without the envelope, plus the hidden ones.
    pub fn custom_records(&self, custom_tlvs: &[(u64, Vec<u8>)]) -> Vec<(u64, Vec<u8>)> {
        let seen = custom_tlvs
            .iter()
            .filter(|(kind, _)| *kind != ENVELOPE_TYPE);
        let mut records: Vec<_> = seen.chain(&self.hidden).cloned().collect();
        records.sort_unstable_by_key(|(kind, _)| *kind);
        records
    }

    fn tag(key: &EnvelopeKey, payment_hash: &PaymentHash, body: &[u8]) -> [u8; TAG_LEN] {
        hmac::hmac(&key.0, &[&payment_hash.0, body])
    }

    /// `version || channel_id || be64(htlc_id) || be32(cltv_expiry) || ephemeral_key || mpp length
    /// || mpp || amp length || amp || hidden records as a TLV stream`. An mpp length of 0 means no
    /// MPP record.
    fn write(&self) -> Zeroizing<Vec<u8>> {
        let mpp = self.mpp.map(|mpp| mpp.encode()).unwrap_or_default();
        let amp = self.amp.encode();
        let hidden: usize = self.hidden.iter().map(|(_, value)| value.len() + 18).sum();
        // Full capacity up front: reallocation would leave a copy of the share in memory.
        let mut body = Zeroizing::new(Vec::with_capacity(256 + hidden));
        body.push(VERSION);
        body.extend_from_slice(&self.channel_id.0);
        body.extend_from_slice(&self.htlc_id.to_be_bytes());
        body.extend_from_slice(&self.cltv_expiry.to_be_bytes());
        body.extend_from_slice(&self.ephemeral_key.serialize());
        for record in [&mpp[..], &amp[..]] {
            // At most 40 and 68 bytes, so the length fits in a u8.
            body.push(record.len() as u8);
            body.extend_from_slice(record);
        }
        let hidden: Vec<_> = self
            .hidden
            .iter()
            .map(|(kind, value)| Record { kind: *kind, value })
            .collect();
        tlv::write(&hidden, &mut body);
        body
    }

    fn read(mut body: &[u8]) -> Option<Self> {
        let [version] = take(&mut body)?;
        if version != VERSION {
            return None;
        }
        let channel_id = ChannelId(take(&mut body)?);
        let htlc_id = u64::from_be_bytes(take(&mut body)?);
        let cltv_expiry = u32::from_be_bytes(take(&mut body)?);
        let ephemeral_key = PublicKey::from_slice(&take::<33>(&mut body)?).ok()?;
        let mpp = match take_record(&mut body)? {
            [] => None,
            value => Some(MppRecord::decode(value).ok()?),
        };
        let amp = AmpRecord::decode(take_record(&mut body)?).ok()?;
        let hidden = tlv::parse(body).ok()?;
        let hidden = hidden
            .iter()
            .map(|record| (record.kind, record.value.to_vec()))
            .collect();
        Some(Self {
            mpp,
            amp,
            channel_id,
            htlc_id,
            cltv_expiry,
            ephemeral_key,
            hidden,
        })
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("mpp", &self.mpp)
            .field("amp", &self.amp)
            .field("channel_id", &self.channel_id)
            .field("htlc_id", &self.htlc_id)
            .field("cltv_expiry", &self.cltv_expiry)
            .finish_non_exhaustive()
    }
}

/// Splits `N` bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

/// Splits a value with a one-byte length prefix off the front.
fn take_record<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = take(bytes)?;
    let (head, rest) = bytes.split_at_checked(length.into())?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_data::onions;
    use super::*;
    use crate::{PaymentAddr, SetId, Share};

    const HASH: PaymentHash = PaymentHash([3; 32]);

    fn key() -> EnvelopeKey {
        EnvelopeKey::from_seed(&[1; 32])
    }

    fn envelope() -> Envelope {
        Envelope {
            mpp: Some(MppRecord {
                payment_addr: PaymentAddr::from_bytes([4; 32]),
                total_msat: 70_000,
            }),
            amp: AmpRecord {
                share: Share::from_bytes([0xab; 32]),
                set_id: SetId::from_bytes([5; 32]),
                child_index: 6,
            },
            channel_id: ChannelId([7; 32]),
            htlc_id: 8,
            cltv_expiry: 850_000,
            ephemeral_key: onions()[0].hops[0].packet.public_key.unwrap(),
            hidden: vec![(77_777, vec![1]), (5_482_373_484, vec![2; 32])],
        }
    }

    fn tlvs(value: &[u8]) -> Vec<(u64, Vec<u8>)> {
        vec![(65_537, vec![1]), (ENVELOPE_TYPE, value.to_vec())]
    }

    #[test]
    fn sealed_envelope_round_trips() {
        let without_mpp = Envelope {
            mpp: None,
            hidden: vec![],
            ..envelope()
        };
        for envelope in [envelope(), without_mpp] {
            let sealed = tlvs(&envelope.seal(&key(), &HASH));
            assert_eq!(Envelope::open(&key(), &HASH, &sealed), Some(envelope));
        }
    }

    #[test]
    fn rejects_envelopes_of_other_hashes_and_nodes() {
        let sealed = tlvs(&envelope().seal(&key(), &HASH));
        let other_key = EnvelopeKey::from_seed(&[2; 32]);
        assert_eq!(Envelope::open(&other_key, &HASH, &sealed), None);
        assert_eq!(Envelope::open(&key(), &PaymentHash([4; 32]), &sealed), None);
        assert_eq!(
            Envelope::open(&key(), &HASH, &sealed[..1]),
            None,
            "no such record"
        );
    }

    #[test]
    fn rejects_newer_layouts_even_with_a_valid_tag() {
        let mut body = envelope().write();
        body[0] = VERSION + 1;
        let tag = Envelope::tag(&key(), &HASH, &body);
        body.extend_from_slice(&tag);
        assert_eq!(Envelope::open(&key(), &HASH, &tlvs(&body)), None);
    }

    #[test]
    fn custom_records_are_restored_in_order_without_the_envelope() {
        let sealed = tlvs(&envelope().seal(&key(), &HASH));
        let records = envelope().custom_records(&sealed);
        let kinds: Vec<_> = records.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [65_537, 77_777, 5_482_373_484]);
    }

    #[test]
    fn debug_output_redacts_secrets() {
        let text = format!("{:?} {:?}", envelope(), key());
        assert!(text.contains("Share(redacted)") && text.contains("EnvelopeKey(redacted)"));
        assert!(
            !text.contains("abab") && !text.contains("171, 171"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn rejects_modified_envelopes(position: prop::sample::Index, flip in 1..=255u8) {
            let mut sealed = envelope().seal(&key(), &HASH).to_vec();
            let position = position.index(sealed.len());
            sealed[position] ^= flip;
            prop_assert_eq!(Envelope::open(&key(), &HASH, &tlvs(&sealed)), None);
        }

        #[test]
        fn rejects_forged_envelopes(value in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(Envelope::open(&key(), &HASH, &tlvs(&value)), None);
        }

        #[test]
        fn random_bodies_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Envelope::read(&body);
            let _ = Envelope::read(&[&[VERSION][..], &body].concat());
        }

        #[test]
        fn truncated_bodies_do_not_panic(length: prop::sample::Index) {
            let body = envelope().write();
            let _ = Envelope::read(&body[..length.index(body.len())]);
        }
    }
}
