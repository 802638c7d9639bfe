//! Updates of all payments (`TrackPayments`).

use std::collections::VecDeque;
use std::sync::Arc;

use super::registry::Payments;
use super::updates::{Mailbox, Next};
use super::view::PaymentView;
use crate::storage::StorageError;

impl Payments {
    /// Subscribes to all payments: first the current state of those in flight, then live updates.
    #[must_use]
    pub fn track_all(self: &Arc<Self>) -> AllUpdates {
        // Subscribe first, then list those in flight, so that no update is lost; one may appear
        // twice.
        let mailbox = self.followers.follow();
        AllUpdates {
            payments: self.clone(),
            in_flight: self.in_flight().into(),
            mailbox,
        }
    }
}

/// A subscription to all payments.
pub struct AllUpdates {
    payments: Arc<Payments>,
    in_flight: VecDeque<PaymentView>,
    mailbox: Arc<Mailbox>,
}

impl AllUpdates {
    /// Waits for the next update. Payments deleted before they are looked up are left out.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn next(&mut self) -> Result<PaymentView, StorageError> {
        if let Some(view) = self.in_flight.pop_front() {
            return Ok(view);
        }
        loop {
            match self.mailbox.take() {
                Some(Next::Update(view)) => return Ok(*view),
                Some(Next::LookUp(identifier)) => {
                    if let Some(found) = self.payments.track(&identifier)? {
                        return Ok(found.borrow().clone());
                    }
                }
                // A notification between `take` and this leaves a permit.
                None => self.mailbox.filled().await,
            }
        }
    }
}
