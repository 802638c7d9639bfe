//! The on-chain address that the donation page shows. It is the page's own: whoever else was given it would take
//! a donation for what they wait for.

use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::Address;

use crate::storage::donations::PutDonationAddress;
use crate::storage::{StorageError, Store};
use crate::wallet::Wallet;
use crate::web::DonationError;

pub(super) struct PageAddress {
    store: Arc<Store>,
    wallet: Arc<Wallet>,
    /// The wallet's number of it; none if the page never showed one.
    index: Mutex<Option<u32>>,
}

impl PageAddress {
    /// To be opened when there is no page, too: somebody may have kept what it showed.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) fn open(store: Arc<Store>, wallet: Arc<Wallet>) -> Result<Self, StorageError> {
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

    /// The same one until something was paid to it.
    ///
    /// # Errors
    /// What the wallet says.
    pub(super) fn address(&self) -> Result<Address, DonationError> {
        // Under the lock nothing can panic halfway through a change.
        let mut known = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, address) = self.wallet.own_address(*known)?;
        if known.replace(index) != Some(index) {
            self.store.submit(PutDonationAddress { index });
        }
        Ok(address)
    }
}
