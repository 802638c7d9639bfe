//! SignMessage and VerifyMessage, in lnd's format: a recoverable signature in z-base-32.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use lightning::sign::NodeSigner;
use lightning::util::message_signing::recover_pk;
use tonic::Status;

use super::graph::view;
use crate::routing::view::node_id;
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use lnd_api::proto::lnrpc::{
    SignMessageRequest, SignMessageResponse, VerifyMessageRequest, VerifyMessageResponse,
};

/// Prefix of every signed message, so that no transaction can be signed this way.
const PREFIX: &[u8] = b"Lightning Signed Message:";

/// Base of a signature's first byte, for a compressed key; the recovery id is added to it.
const COMPRESSED: u8 = 31;

/// The z-base-32 alphabet.
const DIGITS: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Signs a message with the node key.
pub(super) fn sign(
    context: &Context,
    request: &SignMessageRequest,
) -> Result<SignMessageResponse, Status> {
    if request.msg.is_empty() {
        return Err(refused("need a message to sign"));
    }
    let signature = if request.single_hash {
        sign_once_hashed(&request.msg, &context.keys.get_node_secret_key())
    } else {
        let signed = context.keys.sign_message(&request.msg);
        signed.map_err(|()| Status::internal("cannot sign with the node key"))?
    };
    Ok(SignMessageResponse { signature })
}

/// Signs the message's single SHA-256 hash; LDK only supports the double hash.
fn sign_once_hashed(message: &[u8], key: &SecretKey) -> String {
    let digest = sha256::Hash::hash(&[PREFIX, message].concat());
    let message = Message::from_digest(digest.to_byte_array());
    let signature = Secp256k1::signing_only().sign_ecdsa_recoverable(&message, key);
    let (id, bytes) = signature.serialize_compact();
    // The recovery id is 0 to 3.
    let id = u8::try_from(id.to_i32()).unwrap_or_default();
    z_base_32(&[&[COMPRESSED + id], &bytes[..]].concat())
}

/// Encodes in z-base-32, 5 bits per digit; the 65 bytes of a signature need no padding. LDK's encoder
/// is private.
fn z_base_32(bytes: &[u8]) -> String {
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let value = |bits: &[u8]| {
        bits.iter()
            .fold(0, |value, bit| value << 1 | usize::from(*bit))
    };
    let digits = bits.chunks(5).filter_map(|bits| DIGITS.get(value(bits)));
    digits.map(|digit| char::from(*digit)).collect()
}

/// Returns the signer. As in lnd, the signature is valid only if the signer is in the graph.
pub(super) fn verify(
    context: &Context,
    request: &VerifyMessageRequest,
) -> Result<VerifyMessageResponse, Status> {
    if request.msg.is_empty() {
        return Err(refused("need a message to verify"));
    }
    let is_digit = |digit| DIGITS.contains(&digit);
    if !request.signature.bytes().all(is_digit) {
        return Err(refused("failed to decode signature: not z-base-32"));
    }
    let Ok(key) = recover_pk(&request.msg, &request.signature) else {
        return Ok(VerifyMessageResponse::default());
    };
    Ok(VerifyMessageResponse {
        valid: view(context).has_node(&node_id(&key)),
        pubkey: key.serialize().to_lower_hex_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::test_recordings::{recorded, text};

    #[test]
    fn recovers_key_from_lnds_signature() {
        let signature = text(&recorded("signmessage.json")["signature"]);
        let key = recover_pk(b"hello", &signature).unwrap();
        let expected = text(&recorded("verifymessage.json")["pubkey"]);
        assert_eq!(key.to_string(), expected);
    }

    #[test]
    fn single_hash_signature_has_the_same_format() {
        let key = SecretKey::from_slice(&[7; 32]).unwrap();
        let twice = lightning::util::message_signing::sign(b"hello", &key);
        let once = sign_once_hashed(b"hello", &key);
        assert_eq!(once.len(), twice.len());
        assert_ne!(once, twice);
        // The format is parsed, but another key is recovered because the digest differs.
        let other = recover_pk(b"hello", &once);
        assert_ne!(other, Ok(key.public_key(&Secp256k1::new())));
    }

    #[test]
    fn alphabet_matches_ldk() {
        let key = SecretKey::from_slice(&[7; 32]).unwrap();
        let signed = lightning::util::message_signing::sign(b"hello", &key);
        let value = |digit| DIGITS.iter().position(|known| *known == digit).unwrap();
        let bits = signed
            .bytes()
            .flat_map(|digit| (0..5).rev().map(move |bit| value(digit) >> bit & 1));
        let bits: Vec<usize> = bits.collect();
        let byte = |bits: &[usize]| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8);
        let bytes: Vec<u8> = bits.chunks(8).map(byte).collect();
        assert_eq!(bytes.len(), 65);
        assert_eq!(z_base_32(&bytes), signed);
    }
}
