//! The wallet's account and addresses, for restoring or watching it with other software.

use std::collections::HashMap;

use bdk_wallet::KeychainKind;
use bitcoin::bip32::{Fingerprint, Xpub};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, Amount, ScriptBuf};

use super::error::WalletError;
use super::keys::chain_number;
use super::on_chain::Wallet;
use super::state::State;

/// The account (BIP 84).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The extended public key.
    pub public_key: Xpub,
    /// The fingerprint of the master key.
    pub fingerprint: Fingerprint,
    /// The derivation path, `m/84'/coin'/0'`.
    pub path: String,
    /// The number of receiving addresses revealed.
    pub external_keys: u32,
    /// The number of change addresses revealed.
    pub internal_keys: u32,
}

/// A revealed receiving or change address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address (P2WPKH).
    pub address: Address,
    /// Whether it is a change address.
    pub is_change: bool,
    /// The sum of its unspent outputs.
    pub balance: Amount,
    /// The derivation path from the master key.
    pub path: String,
    /// The public key of the address.
    pub public_key: PublicKey,
}

impl Wallet {
    /// The wallet's only account.
    pub fn account(&self) -> Account {
        let state = self.lock();
        Account {
            public_key: *self.keys.public(),
            fingerprint: self.keys.fingerprint(),
            path: self.keys.path(),
            external_keys: state.revealed(KeychainKind::External),
            internal_keys: state.revealed(KeychainKind::Internal),
        }
    }

    /// All revealed addresses, receiving ones first.
    ///
    /// # Errors
    /// If a key cannot be derived, which is practically impossible.
    pub fn addresses(&self) -> Result<Vec<OwnAddress>, WalletError> {
        let state = self.lock();
        let balances = state.balances();
        let own = |keychain, index| {
            let address = state.bdk.peek_address(keychain, index).address;
            let balance = balances.get(&address.script_pubkey());
            Ok(OwnAddress {
                is_change: keychain == KeychainKind::Internal,
                balance: balance.copied().unwrap_or_default(),
                path: format!("{}/{}/{index}", self.keys.path(), chain_number(keychain)),
                public_key: self.keys.public_key(keychain, index)?,
                address,
            })
        };
        let keychains = [KeychainKind::External, KeychainKind::Internal];
        let all = keychains.into_iter().flat_map(|keychain| {
            let indices = 0..state.revealed(keychain);
            indices.map(move |index| (keychain, index))
        });
        all.map(|(keychain, index)| own(keychain, index)).collect()
    }

    /// Reveals a new change address.
    ///
    /// # Errors
    /// If the wallet cannot be saved.
    pub fn new_change_address(&self) -> Result<Address, WalletError> {
        self.reveal(KeychainKind::Internal)
    }
}

impl State {
    fn revealed(&self, keychain: KeychainKind) -> u32 {
        let last = self.bdk.derivation_index(keychain);
        last.map_or(0, |last| last.saturating_add(1))
    }

    fn balances(&self) -> HashMap<ScriptBuf, Amount> {
        let mut balances = HashMap::<_, Amount>::new();
        for coin in self.bdk.list_unspent() {
            *balances.entry(coin.txout.script_pubkey).or_default() += coin.txout.value;
        }
        balances
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::test_chain::wallet_with;

    #[test]
    fn addresses_have_their_paths_and_balances() {
        let (_chain, wallet, _) = wallet_with(&[10_000]);
        let second = wallet.new_address().unwrap();
        let change = wallet.new_change_address().unwrap();
        let addresses = wallet.addresses().unwrap();
        let paths: Vec<_> = addresses.iter().map(|own| own.path.as_str()).collect();
        assert_eq!(
            paths,
            ["m/84'/1'/0'/0/0", "m/84'/1'/0'/0/1", "m/84'/1'/0'/1/0"]
        );
        assert_eq!(addresses[0].balance.to_sat(), 10_000);
        assert_eq!(addresses[1].address, second);
        assert_eq!(addresses[2].address, change);
        assert!(addresses[2].is_change && !addresses[1].is_change);
        for own in addresses {
            let key = bitcoin::CompressedPublicKey(own.public_key);
            let script = ScriptBuf::new_p2wpkh(&key.wpubkey_hash());
            assert_eq!(own.address.script_pubkey(), script);
        }
        let account = wallet.account();
        assert_eq!((account.external_keys, account.internal_keys), (2, 1));
        assert_eq!(account.path, "m/84'/1'/0'");
    }
}
