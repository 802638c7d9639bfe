//! A macaroon: an identifier and caveats, signed with a chain of HMACs under a root key.

use std::fmt;

use bitcoin::hashes::cmp::fixed_time_eq;
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::format::Parts;
use super::{FormatError, Id, IdError};

/// The location that lnd writes into its macaroons.
const LOCATION: &[u8] = b"lnd";
/// The HMAC key with which libmacaroons derives the key of the first link from the root key.
const KEY_GENERATOR: &[u8] = b"macaroons-key-generator";

/// A key that signs macaroons. Its holder can create macaroons with any permissions.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RootKey([u8; 32]);

/// A signed macaroon, a bearer token: its holder may perform the operations that it permits.
#[derive(Clone, PartialEq, Eq)]
pub struct Macaroon(Parts);

/// The macaroon was not created with this root key, or was modified. The text is lnd's, because clients
/// match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("verification failed: signature mismatch after caveat verification")]
pub struct SignatureError;

impl RootKey {
    /// Creates a key from 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes for storage. They must stay secret.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Macaroon {
    /// Creates a macaroon without caveats.
    pub fn mint(root_key: &RootKey, id: &Id) -> Self {
        let id = id.encode();
        Self(Parts {
            location: Some(LOCATION.to_vec()),
            signature: first_link(root_key, &id),
            id,
            caveats: Vec::new(),
        })
    }

    /// Adds a caveat that must also hold for the macaroon to be valid. This does not need the root key.
    pub fn with_caveat(mut self, caveat: &str) -> Self {
        self.0.signature = link(&self.0.signature, caveat.as_bytes());
        self.0.caveats.push(caveat.into());
        self
    }

    /// Returns the decoded identifier. Do not trust it before [`Macaroon::verify`] has succeeded.
    ///
    /// # Errors
    /// [`IdError`] if the identifier is not in lnd's format.
    pub fn id(&self) -> Result<Id, IdError> {
        Id::decode(&self.0.id)
    }

    /// Returns the caveats in the order in which they were added.
    pub fn caveats(&self) -> impl Iterator<Item = &[u8]> {
        self.0.caveats.iter().map(Vec::as_slice)
    }

    /// Verifies that the macaroon was created with `root_key` and that nothing but caveats was added
    /// since. Does not check the caveats; see [`caveat::check`](crate::caveat::check).
    ///
    /// # Errors
    /// [`SignatureError`] if the signature does not match.
    pub fn verify(&self, root_key: &RootKey) -> Result<(), SignatureError> {
        let first = first_link(root_key, &self.0.id);
        let last = self.caveats().fold(first, |key, caveat| link(&key, caveat));
        let is_same = fixed_time_eq(&last, &self.0.signature);
        is_same.then_some(()).ok_or(SignatureError)
    }

    /// Encodes the macaroon in the binary format of lnd's macaroon files.
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Decodes the binary format.
    ///
    /// # Errors
    /// [`FormatError`] if the bytes are not a macaroon.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Parts::decode(bytes).map(Self)
    }
}

fn first_link(root_key: &RootKey, id: &[u8]) -> [u8; 32] {
    link(&link(KEY_GENERATOR, &root_key.0), id)
}

fn link(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    engine.input(message);
    Hmac::from_engine(engine).to_byte_array()
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Macaroon(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_data;
    use super::*;

    #[test]
    fn lnds_macaroons_verify_and_round_trip() {
        let vectors = test_data::all();
        assert!(vectors.len() >= 18, "{}", vectors.len());
        for vector in vectors {
            let macaroon = Macaroon::decode(&vector.bytes).unwrap();
            assert_eq!(macaroon.encode(), vector.bytes, "{}", vector.name);
            assert_eq!(macaroon.0.signature, vector.signature, "{}", vector.name);
            macaroon.verify(&vector.root_key).unwrap();
            let caveats: Vec<_> = macaroon.caveats().collect();
            let expected: Vec<_> = vector.caveats.iter().map(|text| text.as_bytes()).collect();
            assert_eq!(caveats, expected, "{}", vector.name);
        }
    }

    #[test]
    fn minted_macaroons_equal_lnds() {
        for vector in test_data::all() {
            let id = Id::decode(&vector.id).unwrap();
            let minted = Macaroon::mint(&vector.root_key, &id);
            let caveats = vector.caveats.iter();
            let ours = caveats.fold(minted, |macaroon, caveat| macaroon.with_caveat(caveat));
            assert_eq!(ours.encode(), vector.bytes, "{}", vector.name);
        }
    }

    #[test]
    fn rejects_other_root_keys_and_modified_bytes() {
        let vector = test_data::all().remove(1);
        let macaroon = Macaroon::decode(&vector.bytes).unwrap();
        let other_key = RootKey::from_bytes([1; 32]);
        assert_eq!(macaroon.verify(&other_key), Err(SignatureError));
        for position in 0..vector.bytes.len() {
            let mut changed = vector.bytes.clone();
            changed[position] ^= 1;
            // The location is only a hint and is not covered by the signature.
            let Ok(changed) = Macaroon::decode(&changed) else {
                continue;
            };
            let is_location = changed.0.location != macaroon.0.location;
            assert_eq!(changed.verify(&vector.root_key).is_ok(), is_location);
        }
    }

    #[test]
    fn rejects_macaroons_with_a_removed_caveat() {
        let with_caveat = test_data::all().into_iter();
        for vector in with_caveat.filter(|vector| !vector.caveats.is_empty()) {
            let mut macaroon = Macaroon::decode(&vector.bytes).unwrap();
            macaroon.0.caveats.pop();
            assert_eq!(macaroon.verify(&vector.root_key), Err(SignatureError));
        }
    }

    #[test]
    fn debug_output_redacts_secrets() {
        let vector = test_data::all().remove(0);
        let macaroon = Macaroon::decode(&vector.bytes).unwrap();
        let text = format!("{macaroon:?} {:?}", vector.root_key);
        assert_eq!(text, "Macaroon(..) RootKey(..)");
    }
}
