//! Messages signed with the node's key, in lnd's format: a recoverable signature in z-base-32.

use std::sync::Arc;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, SecretKey};
use lightning::sign::NodeSigner;
use lightning::util::message_signing::recover_pk;

use crate::ldk::KeysManager;

/// Prefix of every signed message, so that no transaction can be signed this way.
const PREFIX: &[u8] = b"Lightning Signed Message:";

/// Base of a signature's first byte, for a compressed key; the recovery id is added to it.
const COMPRESSED: u8 = 31;

/// The z-base-32 alphabet.
const DIGITS: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// The keys manager did not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot sign with the node key")]
pub struct CannotSign;

/// The signature is not in z-base-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not z-base-32")]
pub struct NotZBase32;

/// Signs messages with the node's key.
pub struct MessageSigner(Arc<KeysManager>);

impl MessageSigner {
    pub fn new(keys: Arc<KeysManager>) -> Self {
        Self(keys)
    }

    /// Signs the message's double SHA-256 hash.
    ///
    /// # Errors
    /// [`CannotSign`], which LDK's own keys manager never returns.
    pub fn sign(&self, message: &[u8]) -> Result<String, CannotSign> {
        self.0.sign_message(message).map_err(|()| CannotSign)
    }

    /// Signs the message's single SHA-256 hash.
    pub fn sign_once_hashed(&self, message: &[u8]) -> String {
        sign_once_hashed(message, &self.0.get_node_secret_key())
    }
}

/// Returns the signer of the message's double SHA-256 hash, or `None` if the signature is malformed.
///
/// # Errors
/// [`NotZBase32`] if the signature has other characters.
pub fn recover(message: &[u8], signature: &str) -> Result<Option<PublicKey>, NotZBase32> {
    if !signature.bytes().all(|digit| DIGITS.contains(&digit)) {
        return Err(NotZBase32);
    }
    Ok(recover_pk(message, signature).ok())
}

/// LDK only supports the double hash.
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn rejects_signatures_with_other_characters() {
        assert_eq!(recover(b"hello", "lv0"), Err(NotZBase32));
        assert_eq!(recover(b"hello", "ybn"), Ok(None));
    }
}
