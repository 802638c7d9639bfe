//! The BOLT 8 handshake (Noise_XK) as the initiator.

use anyhow::{Result, ensure};
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::{PublicKey, SecretKey};

use super::cipher::{Cipher, hkdf, open, seal};
use super::target::SECP;

/// Size of acts one and two in bytes: version, ephemeral key, tag.
pub(super) const ACT_ONE_OR_TWO: usize = 50;
/// Size of act three in bytes: version, encrypted static key with tag, tag.
pub(super) const ACT_THREE: usize = 66;

const PROTOCOL: &[u8] = b"Noise_XK_secp256k1_ChaChaPoly_SHA256";
const PROLOGUE: &[u8] = b"lightning";

/// A handshake before its second act.
#[derive(Debug)]
pub(super) struct Handshake {
    ours: SecretKey,
    ephemeral: SecretKey,
    hash: [u8; 32],
    chaining_key: [u8; 32],
}

/// The ciphers of both directions after the handshake.
#[derive(Debug)]
pub(super) struct Ciphers {
    pub sending: Cipher,
    pub receiving: Cipher,
}

impl Handshake {
    /// Starts a handshake with the node whose key is `theirs`, and returns act one.
    pub(super) fn begin(
        ours: SecretKey,
        theirs: &PublicKey,
        ephemeral: SecretKey,
    ) -> Result<(Self, [u8; ACT_ONE_OR_TWO])> {
        let name = sha256::Hash::hash(PROTOCOL).to_byte_array();
        let mut handshake = Self {
            ours,
            ephemeral,
            hash: name,
            chaining_key: name,
        };
        handshake.mix_hash(PROLOGUE);
        handshake.mix_hash(&theirs.serialize());
        let point = ephemeral.public_key(&SECP).serialize();
        handshake.mix_hash(&point);
        let key = handshake.mix_key(theirs, &ephemeral);
        let tag = seal(&key, 0, &handshake.hash, &[])?;
        handshake.mix_hash(&tag);
        let mut act_one = [0; ACT_ONE_OR_TWO];
        act_one[1..34].copy_from_slice(&point);
        act_one[34..].copy_from_slice(&tag);
        Ok((handshake, act_one))
    }

    /// Processes act two and returns act three.
    ///
    /// # Errors
    /// If act two was not created by the node with that key.
    pub(super) fn finish(
        mut self,
        act_two: [u8; ACT_ONE_OR_TWO],
    ) -> Result<([u8; ACT_THREE], Ciphers)> {
        ensure!(act_two[0] == 0, "act two has version {}", act_two[0]);
        let theirs = PublicKey::from_slice(&act_two[1..34])?;
        self.mix_hash(&act_two[1..34]);
        let key = self.mix_key(&theirs, &self.ephemeral.clone());
        open(&key, 0, &self.hash, &mut act_two[34..].to_vec())?;
        self.mix_hash(&act_two[34..]);

        let ours = self.ours.public_key(&SECP).serialize();
        let sealed = seal(&key, 1, &self.hash, &ours)?;
        self.mix_hash(&sealed);
        let key = self.mix_key(&theirs, &self.ours.clone());
        let tag = seal(&key, 0, &self.hash, &[])?;
        let mut act_three = [0; ACT_THREE];
        act_three[1..50].copy_from_slice(&sealed);
        act_three[50..].copy_from_slice(&tag);

        let (sending, receiving) = hkdf(&self.chaining_key, &[]);
        let ciphers = Ciphers {
            sending: Cipher::new(sending, self.chaining_key),
            receiving: Cipher::new(receiving, self.chaining_key),
        };
        Ok((act_three, ciphers))
    }

    fn mix_hash(&mut self, data: &[u8]) {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.hash);
        engine.input(data);
        self.hash = sha256::Hash::from_engine(engine).to_byte_array();
    }

    /// The key for the next ciphertext, which both sides derive from their shared secret.
    fn mix_key(&mut self, point: &PublicKey, secret: &SecretKey) -> [u8; 32] {
        let shared = SharedSecret::new(point, secret);
        let (chaining_key, key) = hkdf(&self.chaining_key, &shared.secret_bytes());
        self.chaining_key = chaining_key;
        key
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hex::{DisplayHex, FromHex};

    use super::*;

    const RESPONDER: &str = "028d7500dd4c12685d1f568b4c2b5048e8534b873319f3a8daa612b469132ec7f7";
    const ACT_ONE: &str = "00036360e856310ce5d294e8be33fc807077dc56ac80d95d9cd4ddbd21325eff73f70df608655115\
        1f58b8afe6c195782c6a";
    const ACT_TWO: &str = "0002466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f276e2470b93aac\
        583c9ef6eafca3f730ae";
    const ACT_THREE: &str = "00b9e3a702e93e3a9948c2ed6e5fd7590a6e1c3a0344cfc9d5b57357049aa22355361aa02e55a8fc\
        28fef5bd6d71ad0c38228dc68b1c466263b47fdf31e560e139ba";

    fn begin() -> (Handshake, [u8; ACT_ONE_OR_TWO]) {
        let secret = |byte| SecretKey::from_slice(&[byte; 32]).unwrap();
        let responder = RESPONDER.parse().unwrap();
        Handshake::begin(secret(0x11), &responder, secret(0x12)).unwrap()
    }

    /// BOLT 8, "transport-initiator successful handshake".
    #[test]
    fn handshake_matches_the_bolt8_test_vectors() {
        let (handshake, act_one) = begin();
        assert_eq!(act_one.to_lower_hex_string(), ACT_ONE);
        let act_two = FromHex::from_hex(ACT_TWO).unwrap();
        let (act_three, mut ciphers) = handshake.finish(act_two).unwrap();
        assert_eq!(act_three.to_lower_hex_string(), ACT_THREE);
        // BOLT 8's first encrypted message with the keys of that handshake.
        let mut sent = Vec::new();
        ciphers.sending.seal_message(b"hello", &mut sent).unwrap();
        let expected =
            "cf2b30ddf0cf3f80e7c35a6e6730b59fe802473180f396d88a8fb0db8cbcf25d2f214cf9ea1d95";
        assert_eq!(sent.to_lower_hex_string(), expected);
    }

    /// BOLT 8, "act2 bad version", "act2 bad key serialization" and "act2 bad MAC".
    #[test]
    fn rejects_invalid_act_two() {
        for (place, byte) in [(0, 1), (1, 4), (49, 0xaf)] {
            let mut act_two: [u8; ACT_ONE_OR_TWO] = FromHex::from_hex(ACT_TWO).unwrap();
            act_two[place] = byte;
            assert!(begin().0.finish(act_two).is_err(), "byte {place}");
        }
    }
}
