//! Addresses: given out, kept, and read.

use std::str::FromStr;

use bdk_wallet::KeychainKind;
use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, ScriptBuf};

use super::{Wallet, WalletError};

impl Wallet {
    /// A fresh receiving address (P2WPKH), never given out before.
    pub fn new_address(&self) -> Result<Address, WalletError> {
        self.reveal(KeychainKind::External)
    }

    /// The first receiving address that has got nothing yet (lnd's `UNUSED_WITNESS_PUBKEY_HASH`).
    pub fn unused_address(&self) -> Result<Address, WalletError> {
        let mut state = self.lock();
        let address = state
            .bdk
            .next_unused_address(KeychainKind::External)
            .address;
        self.save(&mut state)?;
        Ok(address)
    }

    /// Until the node stops [`Wallet::unused_address`] passes over the receiving address with this number.
    pub fn keep_address(&self, index: u32) {
        self.lock().bdk.mark_used(KeychainKind::External, index);
    }

    /// A receiving address that only its owner shows, with its number: the one that the owner had, as long as
    /// it has got nothing, else a fresh one. It is kept as by [`Wallet::keep_address`].
    ///
    /// # Errors
    /// If a fresh one cannot be noted.
    pub fn own_address(&self, had: Option<u32>) -> Result<(u32, Address), WalletError> {
        let mut state = self.lock();
        let bdk = &mut state.bdk;
        let got_nothing = |index: &u32| {
            let outputs = bdk.spk_index().inner();
            let owner = (KeychainKind::External, *index);
            outputs.outputs_in_range(owner..=owner).next().is_none()
        };
        let info = match had.filter(got_nothing) {
            Some(index) => bdk.peek_address(KeychainKind::External, index),
            None => bdk.reveal_next_address(KeychainKind::External),
        };
        bdk.mark_used(KeychainKind::External, info.index);
        self.save(&mut state)?;
        Ok((info.index, info.address))
    }

    /// A fresh address of ours for change and sweeps.
    pub(super) fn change_script(&self) -> Result<ScriptBuf, WalletError> {
        self.reveal(KeychainKind::Internal)
            .map(|address| address.script_pubkey())
    }

    /// The first address for change that has got nothing yet: no new one as long as there is one.
    pub(super) fn unused_change_script(&self) -> Result<ScriptBuf, WalletError> {
        let mut state = self.lock();
        let address = state
            .bdk
            .next_unused_address(KeychainKind::Internal)
            .address;
        self.save(&mut state)?;
        Ok(address.script_pubkey())
    }

    pub(super) fn reveal(&self, keychain: KeychainKind) -> Result<Address, WalletError> {
        let mut state = self.lock();
        let address = state.bdk.reveal_next_address(keychain).address;
        self.save(&mut state)?;
        Ok(address)
    }

    /// Whether `script` pays to this wallet.
    pub fn is_mine(&self, script: &ScriptBuf) -> bool {
        self.lock().bdk.is_mine(script.clone())
    }

    /// Reads an address of the node's network.
    ///
    /// # Errors
    /// [`WalletError::BadAddress`] and [`WalletError::OtherNetworkAddress`].
    pub fn parse_address(&self, text: &str) -> Result<Address, WalletError> {
        let address = text.to_owned();
        match Address::<NetworkUnchecked>::from_str(text.trim()) {
            Err(e) => Err(WalletError::BadAddress {
                address,
                reason: e.to_string(),
            }),
            Ok(parsed) => {
                parsed
                    .require_network(self.network)
                    .map_err(|_| WalletError::OtherNetworkAddress {
                        address,
                        network: self.network,
                    })
            }
        }
    }
}

#[cfg(test)]
mod tests;
