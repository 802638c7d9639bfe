//! Listing and deleting past payments.

use bitcoin::hex::DisplayHex;

use super::error::DeleteError;
use super::registry::Payments;
use super::view::PaymentView;
use crate::model::payment::{PaymentPage, PaymentState};
use crate::storage::payments::DeletePayments;
use crate::storage::{Health, StorageError};

/// Payments deleted per commit; keeps the delay of other commits short.
const PAGE: u64 = 500;

/// What to delete of ended payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The whole payment.
    Payment,
    /// Only the failed attempts.
    FailedAttempts,
}

impl Payments {
    /// Returns a page of the history.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn list(&self, page: &PaymentPage) -> Result<Vec<PaymentView>, StorageError> {
        let found = self.store.payments(page)?.into_iter();
        Ok(found
            .map(|(record, attempts)| PaymentView { record, attempts })
            .collect())
    }

    /// The total number of payments.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn count(&self) -> Result<u64, StorageError> {
        self.store.count_payments()
    }

    /// Deletes the payment with this identifier (payment hash, or set_id for AMP). Our record is
    /// gone from disk when this returns. LDK's own state may still contain preimages, which it
    /// needs for a channel's last HTLCs if the channel is closed.
    ///
    /// # Errors
    /// [`DeleteError`]; nothing was deleted.
    pub async fn delete(&self, identifier: &[u8; 32], what: Deletion) -> Result<(), DeleteError> {
        self.check_writing()?;
        let in_flight = || DeleteError::InFlight(identifier.to_lower_hex_string());
        // Check memory first: a failed payment may have been started again and not be on disk yet.
        if self.active(identifier).is_some() {
            return Err(in_flight());
        }
        let found = self.store.payment(identifier)?;
        let record = found.ok_or(DeleteError::Unknown)?;
        if record.state == PaymentState::InFlight {
            return Err(in_flight());
        }
        self.delete_ended(vec![record.payment_index], what).await;
        self.empty_log().await;
        Ok(())
    }

    /// Deletes all ended payments, or only the failed ones, and returns their number. See
    /// [`Payments::delete`] for what remains. After a crash some may be left, each with all its
    /// attempts.
    ///
    /// # Errors
    /// If the database cannot be read, or is not writable at the time of the call.
    pub async fn delete_all(&self, failed_only: bool, what: Deletion) -> Result<u64, DeleteError> {
        self.check_writing()?;
        let (mut count, mut after) = (0, 0);
        loop {
            let page = self.ended(after, failed_only).await?;
            let Some(last) = page.last() else { break };
            after = *last;
            count += page.len() as u64;
            self.delete_ended(page, what).await;
        }
        self.empty_log().await;
        Ok(count)
    }

    /// Reads on a blocking thread, as the search may take long.
    async fn ended(&self, after: u64, failed_only: bool) -> Result<Vec<u64>, DeleteError> {
        let store = self.store.clone();
        let search = move || store.ended_payments(after, failed_only, PAGE);
        let found = self.runtime.spawn_blocking(search).await;
        Ok(found.map_err(|_| DeleteError::Stopping)??)
    }

    fn check_writing(&self) -> Result<(), DeleteError> {
        match &*self.store.health().borrow() {
            Health::Writing => Ok(()),
            Health::Failing(why) => Err(DeleteError::NotWriting(why.clone())),
        }
    }

    async fn delete_ended(&self, payment_indices: Vec<u64>, what: Deletion) {
        let ticket = self.store.submit(DeletePayments {
            payment_indices,
            failed_attempts_only: what == Deletion::FailedAttempts,
        });
        self.store.durable(ticket).await;
    }

    /// Empties the database's log. The tables no longer contain the deleted rows, whatever the
    /// result.
    async fn empty_log(&self) {
        let store = self.store.clone();
        let emptied = self.runtime.spawn_blocking(move || store.empty_log()).await;
        match emptied {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => tracing::warn!(
                "the database is too busy to empty its log: traces of deleted payments remain in it \
                 until it is overwritten"
            ),
            Ok(Err(error)) => tracing::warn!(
                "traces of deleted payments may remain in the database's log: {error}"
            ),
            Err(error) => tracing::warn!(
                "traces of deleted payments may remain in the database's log: {error}"
            ),
        }
    }
}
