//! Addresses: revealing, reserving and parsing them.

use std::str::FromStr;

use bdk_wallet::KeychainKind;
use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, ScriptBuf};

use super::{Wallet, WalletError};

impl Wallet {
    /// Reveals a new receiving address (P2WPKH).
    pub fn new_address(&self) -> Result<Address, WalletError> {
        self.reveal(KeychainKind::External)
    }

    /// Returns the first receiving address without a payment (lnd's `UNUSED_WITNESS_PUBKEY_HASH`), revealing
    /// a new one if there is none.
    pub fn unused_address(&self) -> Result<Address, WalletError> {
        let mut state = self.lock();
        let address = state
            .bdk
            .next_unused_address(KeychainKind::External)
            .address;
        self.save(&mut state)?;
        Ok(address)
    }

    /// Reserves the receiving address with this index: until the node stops, [`Wallet::unused_address`] skips
    /// it.
    pub fn keep_address(&self, index: u32) {
        self.lock().bdk.mark_used(KeychainKind::External, index);
    }

    /// Returns the index and address of a receiving address reserved for one use: that with the index `had`
    /// if it has no payment, or else a new one. It is reserved as by [`Wallet::keep_address`].
    ///
    /// # Errors
    /// If a new address cannot be recorded.
    pub fn own_address(&self, had: Option<u32>) -> Result<(u32, Address), WalletError> {
        let mut state = self.lock();
        let bdk = &mut state.bdk;
        let is_unpaid = |index: &u32| {
            let outputs = bdk.spk_index().inner();
            let owner = (KeychainKind::External, *index);
            outputs.outputs_in_range(owner..=owner).next().is_none()
        };
        let info = match had.filter(is_unpaid) {
            Some(index) => bdk.peek_address(KeychainKind::External, index),
            None => bdk.reveal_next_address(KeychainKind::External),
        };
        bdk.mark_used(KeychainKind::External, info.index);
        self.save(&mut state)?;
        Ok((info.index, info.address))
    }

    /// Reveals a new change address.
    pub(super) fn change_script(&self) -> Result<ScriptBuf, WalletError> {
        self.reveal(KeychainKind::Internal)
            .map(|address| address.script_pubkey())
    }

    /// Returns the first change address without a payment, revealing a new one only if there is none.
    pub(super) fn unused_change_script(&self) -> Result<ScriptBuf, WalletError> {
        let mut state = self.lock();
        let address = state
            .bdk
            .next_unused_address(KeychainKind::Internal)
            .address;
        self.save(&mut state)?;
        Ok(address.script_pubkey())
    }

    /// Reveals a new address of the keychain.
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

    /// Parses an address of the node's network.
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
