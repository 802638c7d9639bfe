//! ChaCha20-Poly1305 and key rotation as in BOLT 8.

use anyhow::{Context, Result, anyhow};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

/// Size of the authentication tag of each ciphertext in bytes.
pub(super) const TAG: usize = 16;
/// Size of the encrypted length that precedes each message: two bytes and the tag.
pub(super) const HEADER: usize = 2 + TAG;
/// Number of times a key is used before it is rotated (BOLT 8).
const ROTATION: u64 = 1_000;

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Cipher {
    key: [u8; 32],
    chaining_key: [u8; 32],
    nonce: u64,
}

impl Cipher {
    pub(super) fn new(key: [u8; 32], chaining_key: [u8; 32]) -> Self {
        Self {
            key,
            chaining_key,
            nonce: 0,
        }
    }

    /// Appends the encrypted length and the encrypted message to `out`.
    ///
    /// # Errors
    /// If the message is longer than 65,535 bytes.
    pub(super) fn seal_message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let length =
            u16::try_from(message.len()).context("the message is longer than 65,535 bytes")?;
        self.seal(&length.to_be_bytes(), out)?;
        self.seal(message, out)
    }

    /// Decrypts the length of the next message, without its tag.
    ///
    /// # Errors
    /// If the tag does not verify.
    pub(super) fn open_header(&mut self, header: &mut [u8; HEADER]) -> Result<usize> {
        let length = self.open(header)?;
        let length = length.try_into().context("the length has two bytes")?;
        Ok(usize::from(u16::from_be_bytes(length)))
    }

    /// Decrypts the message in place.
    ///
    /// # Errors
    /// If the tag does not verify.
    pub(super) fn open<'a>(&mut self, ciphertext: &'a mut [u8]) -> Result<&'a mut [u8]> {
        let (key, nonce) = self.next();
        open(&key, nonce, &[], ciphertext)
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let (key, nonce) = self.next();
        out.extend(seal(&key, nonce, &[], plaintext)?);
        Ok(())
    }

    fn next(&mut self) -> ([u8; 32], u64) {
        if self.nonce == ROTATION {
            (self.chaining_key, self.key) = hkdf(&self.chaining_key, &self.key);
            self.nonce = 0;
        }
        self.nonce += 1;
        (self.key, self.nonce - 1)
    }
}

/// `encryptWithAD` of BOLT 8.
pub(super) fn seal(key: &[u8; 32], number: u64, data: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = plaintext.to_vec();
    aead(key)?
        .seal_in_place_append_tag(nonce(number), Aad::from(data), &mut bytes)
        .map_err(|_| anyhow!("the message is too long to encrypt"))?;
    Ok(bytes)
}

/// `decryptWithAD` of BOLT 8, in place.
///
/// # Errors
/// If the tag does not verify.
pub(super) fn open<'a>(
    key: &[u8; 32],
    number: u64,
    data: &[u8],
    ciphertext: &'a mut [u8],
) -> Result<&'a mut [u8]> {
    aead(key)?
        .open_in_place(nonce(number), Aad::from(data), ciphertext)
        .map_err(|_| anyhow!("the authentication tag is invalid"))
}

/// The two keys that BOLT 8 derives from a chaining key and a secret.
pub(super) fn hkdf(salt: &[u8; 32], secret: &[u8]) -> ([u8; 32], [u8; 32]) {
    struct Both;
    impl KeyType for Both {
        fn len(&self) -> usize {
            64
        }
    }
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    let mut both = [0; 64];
    let expanded = extracted
        .expand(&[], Both)
        .and_then(|okm| okm.fill(&mut both));
    expanded.expect("64 bytes are within the limit of HKDF");
    let (mut first, mut second) = ([0; 32], [0; 32]);
    first.copy_from_slice(&both[..32]);
    second.copy_from_slice(&both[32..]);
    (first, second)
}

fn aead(key: &[u8; 32]) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key);
    Ok(LessSafeKey::new(
        key.map_err(|_| anyhow!("invalid key length"))?,
    ))
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use bitcoin::hex::{DisplayHex, FromHex};

    use super::*;

    const KEY: &str = "969ab31b4d288cedf6218839b27a3e2140827047f2c0f01bf5c04435d43511a9";
    const CHAINING_KEY: &str = "919219dbb2920afa8db80f9a51787a840bcf111ed8d588caf9ab4be716e42b01";

    fn cipher() -> Cipher {
        let key = |hex| FromHex::from_hex(hex).unwrap();
        Cipher::new(key(KEY), key(CHAINING_KEY))
    }

    /// BOLT 8, "Message Encryption Tests".
    #[test]
    fn encryption_matches_the_bolt8_test_vectors() {
        let vectors = [
            (
                0,
                "cf2b30ddf0cf3f80e7c35a6e6730b59fe802473180f396d88a8fb0db8cbcf25d2f214cf9ea1d95",
            ),
            (
                1,
                "72887022101f0b6753e0c7de21657d35a4cb2a1f5cde2650528bbc8f837d0f0d7ad833b1a256a1",
            ),
            (
                500,
                "178cb9d7387190fa34db9c2d50027d21793c9bc2d40b1e14dcf30ebeeeb220f48364f7a4c68bf8",
            ),
            (
                501,
                "1b186c57d44eb6de4c057c49940d79bb838a145cb528d6e8fd26dbe50a60ca2c104b56b60e45bd",
            ),
            (
                1000,
                "4a2f3cc3b5e78ddb83dcb426d9863d9d9a723b0337c89dd0b005d89f8d3c05c52b76b29b740f09",
            ),
            (
                1001,
                "2ecd8c8a5629d0d02ab457a0fdd0f7b90a192cd46be5ecb6ca570bfc5e268338b1a16cf4ef2d36",
            ),
        ];
        let mut cipher = cipher();
        let mut sent = Vec::new();
        for _ in 0..=1001 {
            let mut out = Vec::new();
            cipher.seal_message(b"hello", &mut out).unwrap();
            sent.push(out);
        }
        for (number, expected) in vectors {
            assert_eq!(
                sent[number].to_lower_hex_string(),
                expected,
                "message {number}"
            );
        }
    }

    #[test]
    fn decryption_works_across_key_rotations() {
        let (mut one, mut other) = (cipher(), cipher());
        for number in 0..1_200_u32 {
            let mut sent = Vec::new();
            one.seal_message(&number.to_be_bytes(), &mut sent).unwrap();
            let (header, body) = sent.split_first_chunk_mut().unwrap();
            assert_eq!(other.open_header(header).unwrap(), 4);
            assert_eq!(other.open(body).unwrap(), number.to_be_bytes());
        }
    }
}
