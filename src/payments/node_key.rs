//! Public keys of nodes, as stored with payments.

use bitcoin::hex::FromHex;
use bitcoin::secp256k1::PublicKey;

/// Parses a public key from 66 hex digits.
pub(super) fn parse_key(hex: &str) -> Option<PublicKey> {
    PublicKey::from_slice(&Vec::from_hex(hex).ok()?).ok()
}
