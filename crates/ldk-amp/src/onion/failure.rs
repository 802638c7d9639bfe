//! The failures that LDK cannot send, or sends without their data. Their packets are made here and
//! put in the place of LDK's.
//!
//! LDK's public failure codes lack `mpp_timeout`, and an lnd sender takes any other code of the
//! final hop as the end of the payment. LDK sends `invalid_onion_payload` without type and offset,
//! which lnd cannot read, and then blames the whole node.

use bitcoin::hashes::{Hash, sha256};
use lightning::ln::msgs::{DecodeError, OnionPacket, UpdateFailHTLC};
use lightning::util::ser::{BigSize, LengthReadable, Writeable};
use zeroize::Zeroizing;

use super::hmac;
use super::packet::HopSecret;

/// BOLT 4: the rest of the payment did not come in time. It has no data.
pub const MPP_TIMEOUT: u16 = 23;
/// BOLT 4, PERM|22: the payload could not be used. Its data is a type and an offset.
pub const INVALID_ONION_PAYLOAD: u16 = 0x4000 | 22;
/// BOLT 4, BADONION|PERM|24: something is wrong with a blinded path that begins here.
pub const INVALID_ONION_BLINDING: u16 = 0x8000 | 0x4000 | 24;
/// Code, data and padding take 256 bytes, as BOLT 4 asks for, so that failures look alike.
const FAILURE_LEN: u16 = 256;
const HMAC_LEN: usize = 32;

/// The `reason` of an `update_fail_htlc` that says `mpp_timeout`, as the final hop sends it.
pub fn mpp_timeout_packet(secret: &HopSecret) -> Vec<u8> {
    packet(secret, MPP_TIMEOUT, &[])
}

/// The `reason` that says `invalid_onion_payload`, with the TLV type at fault, or 0 if it cannot be
/// told. The offset is 0, as lnd sends it.
pub fn invalid_payload_packet(secret: &HopSecret, kind: u64) -> Vec<u8> {
    let mut data = BigSize(kind).encode();
    data.extend_from_slice(&0u16.to_be_bytes());
    packet(secret, INVALID_ONION_PAYLOAD, &data)
}

/// The `reason` that says `invalid_onion_blinding`, with the hash of the onion as it came.
pub fn invalid_blinding_packet(secret: &HopSecret, onion: &OnionPacket) -> Vec<u8> {
    let hash = sha256::Hash::hash(&onion.encode());
    packet(secret, INVALID_ONION_BLINDING, hash.as_byte_array())
}

/// `hmac(um) || length || code || data || padding length || padding`, encrypted with `ammag`.
///
/// `data` is shorter than [`FAILURE_LEN`].
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

/// The message with another reason and without attribution data, which is about the old reason.
///
/// The field is private in LDK, so the message is built by reading its own wire bytes.
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

    /// lnd pads as we do, so the whole packets are the same.
    #[test]
    fn the_packet_is_what_lnd_sends() {
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
    fn a_message_gets_another_reason_and_loses_its_attribution_data() {
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
