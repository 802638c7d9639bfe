//! The on-chain address of the donation page. It is reserved for the page: anyone else who was given it
//! would mistake a donation for their own payment.

use std::sync::{Arc, Mutex};

use bitcoin::Address;

use super::DonationError;
use crate::storage::donations::PutDonationAddress;
use crate::storage::{StorageError, Store};
use crate::sync::lock;
use crate::wallet::Wallet;

/// The donation page's address, by its index in the wallet.
pub struct OnChainAddress {
    store: Arc<Store>,
    wallet: Arc<Wallet>,
    /// The address index in the wallet; `None` if the page never showed an address.
    index: Mutex<Option<u32>>,
}

impl OnChainAddress {
    /// Reads the stored index and reserves the address. Called even if the page is disabled, because
    /// visitors may have kept the address.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn open(store: Arc<Store>, wallet: Arc<Wallet>) -> Result<Self, StorageError> {
        let index = store.donation_address()?;
        if let Some(index) = index {
            wallet.keep_address(index);
        }
        Ok(Self {
            store,
            wallet,
            index: Mutex::new(index),
        })
    }

    /// Returns the current address. It changes only after a payment to it.
    ///
    /// # Errors
    /// If the wallet cannot derive an address.
    pub fn address(&self) -> Result<Address, DonationError> {
        let mut known = lock(&self.index);
        let (index, address) = self.wallet.own_address(*known)?;
        if known.replace(index) != Some(index) {
            self.store.submit(PutDonationAddress { index });
        }
        Ok(address)
    }
}
