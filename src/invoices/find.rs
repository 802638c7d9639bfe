//! Finding an invoice or a set: first among what was decided a moment ago, then in the database.

use super::ledger::Ledger;
use super::registry::Registry;
use crate::amp::{PaymentAddr, SetId};
use crate::storage::StorageError;
use crate::storage::invoices::{InvoiceRecord, SetRecord};

impl Registry {
    /// The invoice with this payment address.
    pub(super) fn find_by_addr(
        &self,
        ledger: &Ledger,
        addr: &[u8; 32],
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        match ledger.invoices.get(&PaymentAddr::from_bytes(*addr)) {
            Some(record) => Ok(Some(record.clone())),
            None => self.store.invoice_by_addr(addr),
        }
    }

    /// The invoice with this payment hash.
    pub(super) fn find_by_hash(
        &self,
        ledger: &Ledger,
        hash: &[u8; 32],
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        match ledger
            .hashes
            .get(hash)
            .and_then(|addr| ledger.invoices.get(addr))
        {
            Some(record) => Ok(Some(record.clone())),
            None => self.store.invoice_by_hash(hash),
        }
    }

    /// A set that was decided about; one that is only held may be missing.
    pub(super) fn find_set(
        &self,
        ledger: &Ledger,
        set_id: &SetId,
    ) -> Result<Option<SetRecord>, StorageError> {
        match ledger.sets.get(set_id) {
            Some(set) => Ok(Some(set.clone())),
            None => self.store.set(set_id.as_bytes()),
        }
    }
}
