//! Finding invoices for callers: one, or a page of them.

use super::registry::Registry;
use super::{InvoiceError, InvoiceView};
use crate::storage::StorageError;
use crate::storage::invoices::{HtlcSelection, InvoicePage, InvoiceRef};

impl Registry {
    /// An invoice of ours, as it is on disk.
    ///
    /// That is enough: who was told of an invoice or of a set was told when its rows were on disk,
    /// and what is not on disk yet has not happened if the node ends now.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`], or if the database cannot be read.
    pub fn lookup(
        &self,
        by: &InvoiceRef,
        selection: HtlcSelection,
    ) -> Result<InvoiceView, InvoiceError> {
        self.find_whole(by, selection)?
            .ok_or(InvoiceError::NotFound)
    }

    /// A page of invoices, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn list(&self, page: &InvoicePage) -> Result<Vec<InvoiceView>, StorageError> {
        let records = self.store.invoices(page)?.into_iter();
        let whole = records.map(|record| {
            // Read again, so that it is of the same moment as what paid it.
            self.find_whole(&InvoiceRef::Addr(record.payment_addr), HtlcSelection::All)
        });
        // One that was deleted meanwhile is left out.
        whole.filter_map(Result::transpose).collect()
    }

    fn find_whole(
        &self,
        by: &InvoiceRef,
        selection: HtlcSelection,
    ) -> Result<Option<InvoiceView>, StorageError> {
        let found = self.store.find_invoice(by, selection)?;
        Ok(found.map(|(record, htlcs, sets)| InvoiceView {
            record,
            htlcs,
            sets,
        }))
    }
}

#[cfg(test)]
mod tests;
