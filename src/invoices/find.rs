//! Finding invoices and sets: first among uncommitted state, then in the database.

use lightning_types::payment::PaymentHash;

use super::registry::Registry;
use super::state::State;
use crate::model::htlc::SetRecord;
use crate::model::invoice::{InvoiceRecord, InvoiceRef};
use crate::storage::StorageError;
use ldk_amp::{PaymentAddr, SetId};

impl Registry {
    /// Returns the invoice with this payment address.
    pub(super) fn find_by_addr(
        &self,
        state: &State,
        addr: &PaymentAddr,
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        match state.invoices.get(addr) {
            Some(record) => Ok(Some(record.clone())),
            None => Ok(present(state, self.store.invoice_by_addr(addr)?)),
        }
    }

    /// Returns the invoice with this payment hash.
    pub(super) fn find_by_hash(
        &self,
        state: &State,
        hash: &PaymentHash,
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        match state.hashes.get(hash) {
            Some(addr) => self.find_by_addr(state, addr),
            None => {
                let found = self.store.invoice_by_hash(hash)?;
                Ok(found.and_then(|record| current(state, record)))
            }
        }
    }

    /// Returns a set that was settled or canceled. A set that is still incomplete may be missing.
    pub(super) fn find_set(
        &self,
        state: &State,
        set_id: &SetId,
    ) -> Result<Option<SetRecord>, StorageError> {
        match state.sets.get(set_id) {
            Some(set) => Ok(Some(set.clone())),
            None => {
                let set = self.store.set(set_id)?;
                Ok(set.filter(|set| !state.is_deleted(set.add_index)))
            }
        }
    }

    /// Returns the invoice that a request refers to.
    pub(super) fn find(
        &self,
        state: &State,
        by: &InvoiceRef,
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        match by {
            InvoiceRef::Hash(hash) => self.find_by_hash(state, hash),
            InvoiceRef::Addr(addr) => self.find_by_addr(state, addr),
            InvoiceRef::SetId(set_id) => self.find_by_set(state, set_id),
        }
    }

    fn find_by_set(
        &self,
        state: &State,
        set_id: &SetId,
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        if let Some(open) = state.open.get(set_id) {
            return self.find_by_addr(state, &open.invoice.payment_addr);
        }
        let Some(set) = self.find_set(state, set_id)? else {
            return Ok(None);
        };
        let found = self.store.invoice(set.add_index)?;
        Ok(found.and_then(|record| current(state, record)))
    }
}

/// Replaces a record read from the database with its uncommitted version, if there is one.
pub(super) fn current(state: &State, read: InvoiceRecord) -> Option<InvoiceRecord> {
    let recent = state.invoices.get(&read.payment_addr);
    match recent.filter(|recent| recent.add_index == read.add_index) {
        Some(recent) => Some(recent.clone()),
        None => present(state, Some(read)),
    }
}

/// Returns `None` if the deletion of the invoice is queued.
fn present(state: &State, read: Option<InvoiceRecord>) -> Option<InvoiceRecord> {
    read.filter(|record| !state.is_deleted(record.add_index))
}
