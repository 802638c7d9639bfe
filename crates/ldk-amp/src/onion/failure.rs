//! Failure packets (BOLT 4) that LDK cannot send, or sends without their data.
//!
//! LDK's public failure codes lack `mpp_timeout`, and an lnd sender ends the payment on any other
//! code from the final hop. LDK sends `invalid_onion_payload` without type and offset; lnd cannot
//! decode that and penalizes the whole node.

use bitcoin::hashes::{Hash, sha256};
use lightning::ln::msgs::{DecodeError, OnionPacket, UpdateFailHTLC};
use lightning::util::ser::{BigSize, LengthReadable, Writeable};
use zeroize::Zeroizing;

use super::hmac;
use super::packet::HopSecret;

/// `mpp_timeout` (23, BOLT 4): the rest of the payment did not arrive in time. It has no data.
pub const MPP_TIMEOUT: u16 = 23;
/// `invalid_onion_payload` (PERM|22, BOLT 4). Its data is a TLV type and an offset.
pub(super) const INVALID_ONION_PAYLOAD: u16 = 0x4000 | 22;
/// `invalid_onion_blinding` (BADONION|PERM|24, BOLT 4). Its data is the SHA-256 of the onion.
pub(super) const INVALID_ONION_BLINDING: u16 = 0x8000 | 0x4000 | 24;
/// The length in bytes of code, data and padding. BOLT 4 recommends 256 so that failures are
/// indistinguishable by length.
const FAILURE_LEN: u16 = 256;
const HMAC_LEN: usize = 32;

/// Returns the final hop's `update_fail_htlc` `reason` for `mpp_timeout`.
pub fn mpp_timeout_packet(secret: &HopSecret) -> Vec<u8> {
    packet(secret, MPP_TIMEOUT, &[])
}

/// Returns the `reason` for `invalid_onion_payload` with the TLV type at fault, or 0 if unknown. The
/// offset is 0, as in lnd.
pub(super) fn invalid_payload_packet(secret: &HopSecret, kind: u64) -> Vec<u8> {
    let mut data = BigSize(kind).encode();
    data.extend_from_slice(&0u16.to_be_bytes());
    packet(secret, INVALID_ONION_PAYLOAD, &data)
}

/// Returns the `reason` for `invalid_onion_blinding` with the hash of the received onion.
pub(super) fn invalid_blinding_packet(secret: &HopSecret, onion: &OnionPacket) -> Vec<u8> {
    let hash = sha256::Hash::hash(&onion.encode());
    packet(secret, INVALID_ONION_BLINDING, hash.as_byte_array())
}

/// `hmac(um) || length || code || data || padding length || padding`, encrypted with `ammag`.
///
/// `data` must be at least two bytes shorter than [`FAILURE_LEN`].
fn packet(secret: &HopSecret, code: u16, data: &[u8]) -> Vec<u8> {
    let message = [&code.to_be_bytes()[..], data].concat();
    let padding = vec![0; usize::from(FAILURE_LEN) - message.len()];
    let mut packet = vec![0; HMAC_LEN];
    for part in [&message, &padding] {
        // Both are at most FAILURE_LEN bytes, a u16.
        packet.extend_from_slice(&(part.len() as u16).to_be_bytes());
        packet.extend_from_slice(part);
    }

    let um: Zeroizing<[u8; 32]> = secret.key(b"um");
    let hmac = hmac::hmac(&*um, &[&packet[HMAC_LEN..]]);
    packet[..HMAC_LEN].copy_from_slice(&hmac);
    secret.crypt(b"ammag", &mut packet);
    packet
}

/// Returns the message with another reason and without attribution data, which covers the old reason.
///
/// LDK keeps the field private, so the message is rebuilt by decoding its wire bytes.
///
/// # Errors
/// If `reason` is longer than 65535 bytes.
pub fn with_reason(message: &UpdateFailHTLC, reason: &[u8]) -> Result<UpdateFailHTLC, DecodeError> {
    let length = u16::try_from(reason.len()).map_err(|_| DecodeError::InvalidValue)?;
    let mut wire = message.channel_id.encode();
    wire.extend_from_slice(&message.htlc_id.to_be_bytes());
    wire.extend_from_slice(&length.to_be_bytes());
    wire.extend_from_slice(reason);
    UpdateFailHTLC::read_from_fixed_length_buffer(&mut &wire[..])
}

#[cfg(test)]
mod tests {
    use lightning::ln::types::ChannelId;
    use lightning::util::test_utils::TestNodeSigner;

    use super::super::test_data::onions;
    use super::*;

    /// lnd uses the same padding, so the packets are identical.
    #[test]
    fn mpp_timeout_packet_equals_lnds() {
        for onion in onions() {
            let last = onion.hops.last().unwrap();
            let signer = TestNodeSigner::new(last.private_key);
            let secret = HopSecret::shared(&signer, &last.packet.public_key.unwrap()).unwrap();
            let recorded = onion
                .failures
                .iter()
                .find(|it| it.name == "*lnwire.FailMPPTimeout");
            let recorded = recorded.unwrap();
            let packet = mpp_timeout_packet(&secret);
            assert_eq!(packet, recorded.reason, "{}", onion.name);

            let mut plain = packet;
            secret.crypt(b"ammag", &mut plain);
            assert_eq!(plain[HMAC_LEN..], recorded.plain, "{}", onion.name);
        }
    }

    #[test]
    fn with_reason_replaces_the_reason_and_drops_attribution_data() {
        let mut wire = [5; 32].to_vec();
        wire.extend(7u64.to_be_bytes());
        wire.extend([0, 2, 0xaa, 0xbb]);
        // attribution_data, TLV 1: 20 hold times of 4 bytes and 210 HMACs of 4 bytes.
        wire.extend([1, 0xfd, 0x03, 0x98]);
        wire.extend([1; 920]);
        let message = UpdateFailHTLC::read_from_fixed_length_buffer(&mut &wire[..]).unwrap();
        assert!(message.attribution_data.is_some());

        let other = with_reason(&message, &[1, 2, 3]).unwrap();
        assert_eq!(other.channel_id, ChannelId([5; 32]));
        assert_eq!(other.htlc_id, 7);
        assert_eq!(other.attribution_data, None);
        assert_eq!(other.encode()[40..], [0, 3, 1, 2, 3]);
        assert!(with_reason(&message, &[0; 70_000]).is_err());
    }
}
