//! Supplies the page's invoice: the current one, or a new one before that expires.

use std::sync::Arc;

use super::DonationError;
use crate::clock::unix_seconds;
use crate::config::Validity;
use crate::invoices::{Expiry, NewInvoice, Purpose, Registry};
use crate::model::invoice::{InvoiceRecord, InvoiceState};
use crate::storage::Store;
use crate::storage::donations::PutDonationInvoice;

/// A new invoice is created when this fraction of the old one's lifetime is left: one third.
const RENEWAL_DIVISOR: u64 = 3;

/// Loads and creates the page's invoices.
pub(super) struct InvoiceRotation {
    pub(super) store: Arc<Store>,
    pub(super) registry: Arc<Registry>,
    /// The invoices' description.
    pub(super) memo: String,
    pub(super) validity: Validity,
}

impl InvoiceRotation {
    /// Returns the page's invoice; `None` if it needs a new one.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) fn current(&self) -> Result<Option<InvoiceRecord>, DonationError> {
        let last = self.store.last_donation_invoice()?;
        Ok(last.filter(|invoice| !needs_renewal(invoice, unix_seconds())))
    }

    /// Creates a new invoice. When this returns, the invoice and its assignment to the page are on disk.
    /// Earlier invoices stay payable.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(super) async fn make(&self) -> Result<InvoiceRecord, DonationError> {
        let new = NewInvoice {
            purpose: Purpose::Amp,
            memo: self.memo.clone(),
            expiry: match self.validity {
                Validity::Seconds(seconds) => Expiry::Seconds(seconds),
                Validity::Never => Expiry::Never,
            },
            ..NewInvoice::default()
        };
        let invoice = self.registry.add(new).await?;
        let add_index = invoice.add_index;
        let ticket = self.store.submit(PutDonationInvoice { add_index });
        self.store.durable(ticket).await;
        tracing::info!(add_index, "donation page switched to a new invoice");
        Ok(invoice)
    }
}

/// Returns whether the invoice must be replaced at `now` (Unix time in seconds). A disabled invoice is
/// kept, because a new one would enable the page again.
fn needs_renewal(invoice: &InvoiceRecord, now: u64) -> bool {
    match (invoice.state, invoice.expires_at) {
        (InvoiceState::Open, Some(end)) => {
            let lifetime = end.saturating_sub(invoice.created_at);
            end.saturating_sub(now) <= lifetime / RENEWAL_DIVISOR
        }
        (InvoiceState::Open, None) | (InvoiceState::Disabled, _) => false,
        (InvoiceState::Canceled | InvoiceState::Settled | InvoiceState::Accepted, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::donations::tests;

    fn invoice(state: InvoiceState, expires_at: Option<u64>) -> InvoiceRecord {
        InvoiceRecord {
            created_at: 1_000,
            expires_at,
            state,
            ..tests::invoice(1)
        }
    }

    #[test]
    fn renews_when_a_third_of_the_lifetime_is_left() {
        let open = invoice(InvoiceState::Open, Some(1_300));
        assert!(!needs_renewal(&open, 1_000));
        assert!(!needs_renewal(&open, 1_199));
        assert!(needs_renewal(&open, 1_200));
        assert!(needs_renewal(&open, 5_000));
        assert!(!needs_renewal(&invoice(InvoiceState::Open, None), u64::MAX));
    }

    #[test]
    fn replaces_canceled_but_not_disabled_invoices() {
        assert!(needs_renewal(&invoice(InvoiceState::Canceled, None), 1_000));
        let off = invoice(InvoiceState::Disabled, Some(1_300));
        assert!(!needs_renewal(&off, 5_000));
    }
}
