//! Giving a payment up on request.

use std::sync::Arc;

use super::send::{Payments, lock};
use crate::storage::payments::{FailureReason, PaymentState};

impl Payments {
    /// Makes no further attempt for this payment. What is in flight may still settle it; otherwise
    /// it fails as canceled once nothing is. Does nothing if the payment is over or unknown.
    ///
    /// The wish is stored: a restart does not revive the payment.
    pub fn cancel(self: &Arc<Self>, identifier: &[u8; 32]) {
        if let Some(active) = self.active(identifier) {
            let mut running = lock(&active.running);
            if running.flow.record.state == PaymentState::InFlight {
                self.give_up(&mut running, FailureReason::Canceled);
            }
            self.settle_up(&active, &mut running);
        }
    }
}
