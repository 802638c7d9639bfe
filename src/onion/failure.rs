//! The one failure that LDK cannot send: `mpp_timeout`.
//!
//! LDK's public failure codes lack it, and an lnd sender takes any other code of the final hop as
//! the end of the payment. So the packet is made here and put in the place of LDK's.

use lightning::ln::msgs::{DecodeError, UpdateFailHTLC};
use lightning::util::ser::{LengthReadable, Writeable};
use zeroize::Zeroizing;

use super::mac;
use super::packet::HopSecret;

/// BOLT 4: the rest of the payment did not come in time. It has no data.
pub const MPP_TIMEOUT: u16 = 23;
/// Code, data and padding take 256 bytes, as BOLT 4 asks for, so that failures look alike.
const FAILURE_LEN: u16 = 256;
const CODE_LEN: u16 = 2;
const HMAC_LEN: usize = 32;

/// The `reason` of an `update_fail_htlc` that says `mpp_timeout`, as the final hop sends it.
///
/// `hmac(um) || length || code || padding length || padding`, encrypted with `ammag`.
pub fn mpp_timeout_packet(secret: &HopSecret) -> Vec<u8> {
    let padding = FAILURE_LEN - CODE_LEN;
    let mut packet = vec![0; HMAC_LEN];
    for number in [CODE_LEN, MPP_TIMEOUT, padding] {
        packet.extend_from_slice(&number.to_be_bytes());
    }
    packet.resize(packet.len() + usize::from(padding), 0);

    let um: Zeroizing<[u8; 32]> = secret.key(b"um");
    let hmac = mac::hmac(&*um, &[&packet[HMAC_LEN..]]);
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
