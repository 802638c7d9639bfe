//! Canceling payments on request.

use std::sync::Arc;

use super::registry::Payments;
use crate::model::payment::{FailureReason, PaymentState};
use crate::sync::lock;

impl Payments {
    /// Stops further attempts of this payment. Attempts in flight may still settle it; otherwise it
    /// fails as canceled once none is left. No effect if the payment has ended or is unknown.
    ///
    /// The cancellation is stored, so a restart does not resume the payment.
    pub fn cancel(self: &Arc<Self>, identifier: &[u8; 32]) {
        if let Some(active) = self.active(identifier) {
            let mut progress = lock(&active.progress);
            if progress.lifecycle.record.state == PaymentState::InFlight {
                self.give_up(&mut progress, FailureReason::Canceled);
            }
            self.settle_up(&active, &mut progress);
        }
    }
}
