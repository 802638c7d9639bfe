//! HMAC-SHA256, the one hash of the onion and of the envelope.

use bitcoin::hashes::cmp::fixed_time_eq;
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};

/// HMAC-SHA256 under `key` over the parts one after the other.
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    for part in parts {
        engine.input(part);
    }
    Hmac::from_engine(engine).to_byte_array()
}

/// Compares without telling by its time where two codes differ.
pub fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    fixed_time_eq(a, b)
}
