//! The wallet's keys: one BIP 84 account, and signatures for its P2WPKH inputs.

use bdk_wallet::KeychainKind;
use bdk_wallet::template::Bip84Public;
use bitcoin::bip32::{ChildNumber, Fingerprint, Xpriv, Xpub};
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{Network, NetworkKind, Psbt, TxOut, Witness, ecdsa};

use super::error::WalletError;

/// The account `m/84'/coin'/0'`. bdk gets only its public half, so that no secret can reach a
/// record, a log or an error of bdk's.
pub(super) struct AccountKey {
    secret: Xpriv,
    public: Xpub,
    master: Fingerprint,
    secp: Secp256k1<All>,
}

impl AccountKey {
    /// Derives the account from the seed's master key: coin type 0 on mainnet, else 1 (SLIP 44).
    pub(super) fn derive(master: &Xpriv, network: Network) -> Result<Self, WalletError> {
        let secp = Secp256k1::new();
        let kind = NetworkKind::from(network);
        let mut master = *master;
        master.network = kind;
        let coin = if kind == NetworkKind::Main { 0 } else { 1 };
        let path = [84, coin, 0].map(|index| ChildNumber::Hardened { index });
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

    /// The public descriptor of one keychain.
    pub(super) fn descriptor(&self, keychain: KeychainKind) -> Bip84Public<Xpub> {
        Bip84Public(self.public, self.master, keychain)
    }

    /// Signs each input that `own` knows, as `SIGHASH_ALL`, and finalizes it.
    ///
    /// `own` returns the output that an input spends, from the wallet's own records (an amount that
    /// somebody else put into `psbt` is not believed), and where its key is. Other inputs stay as
    /// they are.
    pub(super) fn sign(
        &self,
        psbt: &mut Psbt,
        own: impl Fn(&bitcoin::OutPoint) -> Option<(TxOut, KeychainKind, u32)>,
    ) -> Result<(), WalletError> {
        let unsigned = psbt.unsigned_tx.clone();
        let mut cache = SighashCache::new(&unsigned);
        for (index, txin) in unsigned.input.iter().enumerate() {
            let Some((output, keychain, child)) = own(&txin.previous_output) else {
                continue;
            };
            let sighash = cache
                .p2wpkh_signature_hash(
                    index,
                    &output.script_pubkey,
                    output.value,
                    EcdsaSighashType::All,
                )
                .map_err(internal)?;
            let mut key = self.key(keychain, child)?;
            // A low R saves a byte, and keeps the size at what the fee was computed for.
            let signature = self.secp.sign_ecdsa_low_r(&Message::from(sighash), &key);
            let signature = ecdsa::Signature::sighash_all(signature);
            let witness = Witness::p2wpkh(&signature, &key.public_key(&self.secp));
            key.non_secure_erase();
            psbt.inputs[index].final_script_witness = Some(witness);
        }
        Ok(())
    }

    fn key(&self, keychain: KeychainKind, index: u32) -> Result<SecretKey, WalletError> {
        let chain = match keychain {
            KeychainKind::External => 0,
            KeychainKind::Internal => 1,
        };
        let path = [chain, index].map(|index| ChildNumber::Normal { index });
        Ok(self
            .secret
            .derive_priv(&self.secp, &path)
            .map_err(internal)?
            .private_key)
    }
}

impl Drop for AccountKey {
    fn drop(&mut self) {
        self.secret.private_key.non_secure_erase();
    }
}

fn internal(error: impl ToString) -> WalletError {
    WalletError::Internal(error.to_string())
}
