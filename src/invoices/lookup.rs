//! Looking up and listing invoices for API clients.

use super::registry::Registry;
use super::{InvoiceError, InvoiceView};
use crate::model::invoice::{HtlcSelection, InvoicePage, InvoiceRef};
use crate::storage::StorageError;

impl Registry {
    /// Returns an invoice as it is on disk.
    ///
    /// That is sufficient: clients hear of an invoice or a set only when its rows are on disk, and
    /// whatever is not on disk has not happened if the node crashes now.
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

    /// Returns a page of invoices, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn list(&self, page: &InvoicePage) -> Result<Vec<InvoiceView>, StorageError> {
        let records = self.store.invoices(page)?.into_iter();
        let whole = records.map(|record| {
            // Read again, so that the record and its HTLCs are from the same snapshot.
            self.find_whole(&InvoiceRef::Addr(record.payment_addr), HtlcSelection::All)
        });
        // Invoices deleted in the meantime are left out.
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
