//! The wallet's keys: one BIP 84 account, and signatures for its P2WPKH inputs.

use bdk_wallet::KeychainKind;
use bdk_wallet::template::Bip84Public;
use bitcoin::bip32::{ChildNumber, Fingerprint, Xpriv, Xpub};
use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};
use bitcoin::sighash::SighashCache;
use bitcoin::{Network, NetworkKind, Psbt, TxOut, ecdsa, psbt};

use super::error::WalletError;

/// The keys of the account `m/84'/coin'/0'`. bdk gets only the public key, so that no secret can end up in
/// its records, logs or errors.
pub(super) struct AccountKey {
    secret: Xpriv,
    public: Xpub,
    master: Fingerprint,
    secp: Secp256k1<All>,
}

impl AccountKey {
    /// Derives the account from the master key, with coin type 0 on mainnet and 1 elsewhere (SLIP 44).
    pub(super) fn derive(master: &Xpriv, network: Network) -> Result<Self, WalletError> {
        let secp = Secp256k1::new();
        let kind = NetworkKind::from(network);
        let mut master = *master;
        master.network = kind;
        let path = [84, coin_type(kind), 0].map(|index| ChildNumber::Hardened { index });
        let secret = master.derive_priv(&secp, &path).map_err(internal)?;
        let public = Xpub::from_priv(&secp, &secret);
        let fingerprint = master.fingerprint(&secp);
        master.private_key.non_secure_erase();
        Ok(Self {
            secret,
            public,
            master: fingerprint,
            secp,
        })
    }

    /// The public descriptor of a keychain.
    pub(super) fn descriptor(&self, keychain: KeychainKind) -> Bip84Public<Xpub> {
        Bip84Public(self.public, self.master, keychain)
    }

    /// The account's extended public key.
    pub(super) fn public(&self) -> &Xpub {
        &self.public
    }

    /// The fingerprint of the master key.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.master
    }

    /// The account's derivation path, `m/84'/coin'/0'`.
    pub(super) fn path(&self) -> String {
        format!("m/84'/{}'/0'", coin_type(self.public.network))
    }

    /// The public key of an address.
    pub(super) fn public_key(
        &self,
        keychain: KeychainKind,
        index: u32,
    ) -> Result<PublicKey, WalletError> {
        let derived = self.public.derive_pub(&self.secp, &child(keychain, index));
        Ok(derived.map_err(internal)?.public_key)
    }

    /// Signs each input that `own` knows and that is not final. Returns the indices and keys of the signed
    /// inputs. The sighash type is that of the input, or `SIGHASH_ALL`.
    ///
    /// `own` returns the output that an input spends and the position of its key, from the wallet's own
    /// records, because amounts in `psbt` cannot be trusted. Other inputs are not changed.
    pub(super) fn sign(
        &self,
        psbt: &mut Psbt,
        own: impl Fn(&bitcoin::OutPoint) -> Option<(TxOut, KeychainKind, u32)>,
    ) -> Result<Vec<(usize, PublicKey)>, WalletError> {
        let unsigned = psbt.unsigned_tx.clone();
        let mut cache = SighashCache::new(&unsigned);
        let mut signed = Vec::new();
        for (index, input) in psbt.inputs.iter_mut().enumerate() {
            let spent = &unsigned.input[index].previous_output;
            let Some((output, keychain, child)) = own(spent).filter(|_| !is_final(input)) else {
                continue;
            };
            let kind = input.ecdsa_hash_ty().map_err(|error| {
                let reason = error.to_string();
                WalletError::PsbtInput { index, reason }
            })?;
            let sighash = cache
                .p2wpkh_signature_hash(index, &output.script_pubkey, output.value, kind)
                .map_err(internal)?;
            let (signature, key) = self.sign_with(keychain, child, &Message::from(sighash))?;
            let signature = ecdsa::Signature {
                signature,
                sighash_type: kind,
            };
            input.partial_sigs.insert(key.into(), signature);
            signed.push((index, key));
        }
        Ok(signed)
    }

    fn sign_with(
        &self,
        keychain: KeychainKind,
        index: u32,
        message: &Message,
    ) -> Result<(Signature, PublicKey), WalletError> {
        let mut key = self.key(keychain, index)?;
        // A low R value keeps the signature at the size for which the fee was computed.
        let signature = self.secp.sign_ecdsa_low_r(message, &key);
        let public = key.public_key(&self.secp);
        key.non_secure_erase();
        Ok((signature, public))
    }

    fn key(&self, keychain: KeychainKind, index: u32) -> Result<SecretKey, WalletError> {
        Ok(self
            .secret
            .derive_priv(&self.secp, &child(keychain, index))
            .map_err(internal)?
            .private_key)
    }
}

impl Drop for AccountKey {
    fn drop(&mut self) {
        self.secret.private_key.non_secure_erase();
    }
}

/// The coin type (SLIP 44).
fn coin_type(kind: NetworkKind) -> u32 {
    match kind {
        NetworkKind::Main => 0,
        NetworkKind::Test => 1,
    }
}

/// The chain index of a keychain: 0 for receiving, 1 for change (BIP 44).
pub(super) fn chain_number(keychain: KeychainKind) -> u32 {
    match keychain {
        KeychainKind::External => 0,
        KeychainKind::Internal => 1,
    }
}

fn child(keychain: KeychainKind, index: u32) -> [ChildNumber; 2] {
    [chain_number(keychain), index].map(|index| ChildNumber::Normal { index })
}

/// Whether an input of a PSBT is finalized.
pub(super) fn is_final(input: &psbt::Input) -> bool {
    input.final_script_sig.is_some() || input.final_script_witness.is_some()
}

fn internal(error: impl ToString) -> WalletError {
    WalletError::Internal(error.to_string())
}
