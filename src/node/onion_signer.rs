//! The node's signer, with the shared secrets of onions that LDK has yet to decrypt.
//!
//! Each incoming HTLC is decrypted twice: by the gateway when it arrives, and by LDK once it is irrevocably
//! committed. The ECDH takes about 50 µs, so LDK gets the result of the gateway's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::ecdsa::{RecoverableSignature, Signature};
use bitcoin::secp256k1::{PublicKey, Scalar, schnorr};
use lightning::ln::inbound_payment::ExpandedKey;
use lightning::ln::msgs::UnsignedGossipMessage;
use lightning::offers::invoice::UnsignedBolt12Invoice;
use lightning::sign::{NodeSigner, PeerStorageKey, ReceiveAuthKey, Recipient};
use lightning_invoice::RawBolt11Invoice;

use crate::ldk::KeysManager;
use crate::sync::lock;

/// Maximum number of shared secrets: the HTLCs of two full channels. When it is reached, all are forgotten,
/// and computed again when needed.
const MAX_SECRETS: usize = 966;

/// A signer that computes each shared secret once for the gateway and LDK together.
pub(super) struct OnionSigner {
    keys: Arc<KeysManager>,
    /// By the ephemeral key of the onion.
    secrets: Mutex<HashMap<PublicKey, Secret>>,
}

/// Erased when dropped.
struct Secret(SharedSecret);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

impl OnionSigner {
    pub(super) fn new(keys: Arc<KeysManager>) -> Self {
        Self {
            keys,
            secrets: Mutex::default(),
        }
    }

    fn remember(&self, ephemeral_key: PublicKey, secret: SharedSecret) {
        let mut secrets = lock(&self.secrets);
        if secrets.len() >= MAX_SECRETS {
            secrets.clear();
        }
        secrets.insert(ephemeral_key, Secret(secret));
    }
}

impl NodeSigner for OnionSigner {
    fn ecdh(
        &self,
        recipient: Recipient,
        other_key: &PublicKey,
        tweak: Option<&Scalar>,
    ) -> Result<SharedSecret, ()> {
        if !matches!((recipient, tweak), (Recipient::Node, None)) {
            return self.keys.ecdh(recipient, other_key, tweak);
        }
        let known = lock(&self.secrets).remove(other_key);
        if let Some(known) = known {
            return Ok(known.0);
        }
        let secret = self.keys.ecdh(recipient, other_key, tweak)?;
        self.remember(*other_key, secret);
        Ok(secret)
    }

    fn get_expanded_key(&self) -> ExpandedKey {
        self.keys.get_expanded_key()
    }

    fn get_peer_storage_key(&self) -> PeerStorageKey {
        self.keys.get_peer_storage_key()
    }

    fn get_receive_auth_key(&self) -> ReceiveAuthKey {
        self.keys.get_receive_auth_key()
    }

    fn get_node_id(&self, recipient: Recipient) -> Result<PublicKey, ()> {
        self.keys.get_node_id(recipient)
    }

    fn sign_invoice(
        &self,
        invoice: &RawBolt11Invoice,
        recipient: Recipient,
    ) -> Result<RecoverableSignature, ()> {
        self.keys.sign_invoice(invoice, recipient)
    }

    fn sign_bolt12_invoice(
        &self,
        invoice: &UnsignedBolt12Invoice,
    ) -> Result<schnorr::Signature, ()> {
        self.keys.sign_bolt12_invoice(invoice)
    }

    fn sign_gossip_message(&self, msg: UnsignedGossipMessage) -> Result<Signature, ()> {
        self.keys.sign_gossip_message(msg)
    }

    fn sign_message(&self, msg: &[u8]) -> Result<String, ()> {
        self.keys.sign_message(msg)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    fn signer() -> OnionSigner {
        OnionSigner::new(Arc::new(KeysManager::new(&[1; 32], 1, 1, true)))
    }

    fn key(number: u32) -> PublicKey {
        let mut secret = [1; 32];
        secret[..4].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&secret).unwrap())
    }

    #[test]
    fn second_request_takes_the_result_of_the_first() {
        let signer = signer();
        let fresh = |key: PublicKey| signer.keys.ecdh(Recipient::Node, &key, None).unwrap();
        for number in 0..3 {
            let first = signer.ecdh(Recipient::Node, &key(number), None).unwrap();
            assert_eq!(first, fresh(key(number)));
            assert_eq!(lock(&signer.secrets).len(), 1);
            let second = signer.ecdh(Recipient::Node, &key(number), None).unwrap();
            assert_eq!(second, first);
            assert!(lock(&signer.secrets).is_empty());
        }
    }

    #[test]
    fn number_of_remembered_secrets_is_bounded() {
        let signer = signer();
        for number in 0..=MAX_SECRETS as u32 {
            signer.ecdh(Recipient::Node, &key(number), None).unwrap();
            assert!(lock(&signer.secrets).len() <= MAX_SECRETS);
        }
        assert_eq!(lock(&signer.secrets).len(), 1);
    }

    #[test]
    fn tweaked_secrets_are_not_remembered() {
        let signer = signer();
        let tweak = Scalar::from_be_bytes([2; 32]).unwrap();
        let tweaked = |signer: &OnionSigner| {
            let result = signer.ecdh(Recipient::Node, &key(1), Some(&tweak));
            result.unwrap()
        };
        assert_eq!(tweaked(&signer), tweaked(&signer));
        assert!(lock(&signer.secrets).is_empty());
        let plain = signer.ecdh(Recipient::Node, &key(1), None).unwrap();
        assert_ne!(plain, tweaked(&signer));
    }
}
