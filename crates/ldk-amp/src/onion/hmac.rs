//! HMAC-SHA256, used by the onion (BOLT 4) and the envelope.

use bitcoin::hashes::cmp::fixed_time_eq;
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};

/// Returns the HMAC-SHA256 under `key` of the concatenated parts.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    for part in parts {
        engine.input(part);
    }
    Hmac::from_engine(engine).to_byte_array()
}

/// Compares two HMACs in constant time.
pub(super) fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    fixed_time_eq(a, b)
}
