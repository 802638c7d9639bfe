//! BOLT 11 invoices composed field by field, including ones that no wallet would create.

use bitcoin::bech32::{ByteIterExt, Fe32, Fe32IterExt, Hrp};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use lightning_invoice::Bolt11Bech32;

/// 2026-01-01.
const TIMESTAMP: u64 = 1_767_225_600;

/// An invoice to be signed.
#[derive(Debug, Clone)]
pub struct WrittenInvoice {
    /// Prefix and amount, for example `lnbcrt10u`.
    pub hrp: String,
    /// Tags and their values in quintets (5-bit groups).
    pub fields: Vec<(char, Vec<u8>)>,
}

impl WrittenInvoice {
    /// An invoice with payment hash, payment secret and description.
    #[must_use]
    pub fn new(hrp: &str) -> Self {
        Self {
            hrp: hrp.to_owned(),
            fields: Vec::new(),
        }
        .with('p', &bytes(&[1; 32]))
        .with('s', &bytes(&[2; 32]))
        .with('d', &bytes(b"tea"))
    }

    /// Adds a field. `tag` is a bech32 character, `value` is in quintets.
    #[must_use]
    pub fn with(mut self, tag: char, value: &[u8]) -> Self {
        self.fields.push((tag, value.to_vec()));
        self
    }

    /// Returns the invoice signed with this key.
    ///
    /// # Panics
    /// If it cannot be encoded in bech32, for example because a value is longer than 1023 quintets.
    #[must_use]
    pub fn signed(&self, key: &SecretKey) -> String {
        let data = self.data();
        let length = (data.len() * 5).div_ceil(8);
        let padded = data.iter().copied().chain([Fe32::Q, Fe32::Q]);
        let mut signed = self.hrp.clone().into_bytes();
        signed.extend(padded.fes_to_bytes().take(length));
        let digest = Message::from_digest(sha256::Hash::hash(&signed).to_byte_array());
        let signature = Secp256k1::signing_only().sign_ecdsa_recoverable(&digest, key);
        let (id, signature) = signature.serialize_compact();
        let id = u8::try_from(id.to_i32()).expect("recovery ids are 0 to 3");
        let signature = signature.into_iter().chain([id]).bytes_to_fes();
        let hrp = Hrp::parse(&self.hrp).expect("the human-readable part is valid");
        let whole = data.into_iter().chain(signature);
        whole.with_checksum::<Bolt11Bech32>(&hrp).chars().collect()
    }

    fn data(&self) -> Vec<Fe32> {
        let mut quintets = number(TIMESTAMP, 7);
        for (tag, value) in &self.fields {
            let tag = Fe32::from_char(*tag).expect("the tag is a bech32 character");
            quintets.push(tag.to_u8());
            let length = u64::try_from(value.len()).expect("a length");
            assert!(length < 1024, "a field has at most 1023 quintets");
            quintets.extend(number(length, 2));
            quintets.extend(value);
        }
        let fes = quintets.into_iter().map(Fe32::try_from);
        fes.collect::<Result<_, _>>().expect("quintets")
    }
}

/// Encodes a number in `length` quintets, big-endian.
#[must_use]
pub fn number(value: u64, length: usize) -> Vec<u8> {
    let quintet = |place: usize| (value.checked_shr(5 * place as u32).unwrap_or(0) % 32) as u8;
    (0..length).rev().map(quintet).collect()
}

/// Encodes bytes in quintets, padded with zero bits.
#[must_use]
pub fn bytes(value: &[u8]) -> Vec<u8> {
    value
        .iter()
        .copied()
        .bytes_to_fes()
        .map(|fe| fe.to_u8())
        .collect()
}
