//! Finding one invoice.

use super::registry::Registry;
use super::{InvoiceError, InvoiceView};
use crate::storage::invoices::{HtlcSelection, InvoiceRef};

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
        let found = self.store.find_invoice(by, selection)?;
        let (record, htlcs, sets) = found.ok_or(InvoiceError::NotFound)?;
        Ok(InvoiceView {
            record,
            htlcs,
            sets,
        })
    }
}

#[cfg(test)]
mod tests;
