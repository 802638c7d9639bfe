//! Keeps the page supplied with an invoice: the one that it had, or a new one in time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::DonationError;
use crate::config::Validity;
use crate::invoices::{Expiry, NewInvoice, Purpose, Registry};
use crate::storage::Store;
use crate::storage::donations::PutDonationInvoice;
use crate::storage::invoices::{InvoiceRecord, InvoiceState};

/// A new invoice is made when so much of the old one's life is left: one part of three.
const RENEWED_AT: u64 = 3;

/// Finds and makes the page's invoices.
pub(super) struct Keeper {
    pub(super) store: Arc<Store>,
    pub(super) registry: Arc<Registry>,
    /// What it is for.
    pub(super) memo: String,
    pub(super) validity: Validity,
}

impl Keeper {
    /// The invoice that the page goes on with; `None`: it needs a new one.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) fn current(&self) -> Result<Option<InvoiceRecord>, DonationError> {
        let last = self.store.last_donation_invoice()?;
        Ok(last.filter(|invoice| !is_old(invoice, now())))
    }

    /// Makes a new one. It is the page's, on disk, when this returns; the old ones stay payable.
    ///
    /// # Errors
    /// If nothing can be written.
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

/// Whether it has to be replaced at `now`, in seconds since 1970. One that its owner has switched off
/// stays: a new one would switch the page on again.
fn is_old(invoice: &InvoiceRecord, now: u64) -> bool {
    match (invoice.state, invoice.expires_at) {
        (InvoiceState::Open, Some(end)) => {
            let life = end.saturating_sub(invoice.created_at);
            end.saturating_sub(now) <= life / RENEWED_AT
        }
        (InvoiceState::Open, None) | (InvoiceState::Disabled, _) => false,
        (InvoiceState::Canceled | InvoiceState::Settled | InvoiceState::Accepted, _) => true,
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
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
    fn an_invoice_is_old_when_a_third_of_its_life_is_left() {
        let open = invoice(InvoiceState::Open, Some(1_300));
        assert!(!is_old(&open, 1_000));
        assert!(!is_old(&open, 1_199));
        assert!(is_old(&open, 1_200));
        assert!(is_old(&open, 5_000));
        assert!(!is_old(&invoice(InvoiceState::Open, None), u64::MAX));
    }

    #[test]
    fn one_that_is_canceled_is_replaced_and_one_that_is_switched_off_is_not() {
        assert!(is_old(&invoice(InvoiceState::Canceled, None), 1_000));
        let off = invoice(InvoiceState::Disabled, Some(1_300));
        assert!(!is_old(&off, 5_000));
    }
}
