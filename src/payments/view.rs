//! Payments as shown to API clients.

use super::lifecycle::Lifecycle;
use crate::model::attempt::{AttemptRecord, AttemptState};
use crate::model::payment::{PaymentRecord, PaymentState};

/// A consistent view of a payment and its attempts.
#[derive(Clone)]
pub struct PaymentView {
    pub record: PaymentRecord,
    pub attempts: Vec<AttemptRecord>,
}

impl PaymentView {
    /// Returns the current view of a payment in progress.
    pub(super) fn of(lifecycle: &Lifecycle) -> Self {
        Self {
            record: lifecycle.record.clone(),
            attempts: lifecycle.attempts.clone(),
        }
    }

    /// Returns whether the payment has ended.
    pub fn is_final(&self) -> bool {
        self.record.state != PaymentState::InFlight
    }

    /// The routing fees in msat: of settled attempts once it has ended, including those in flight
    /// before.
    pub fn fee_msat(&self) -> u64 {
        let counts = |a: &&AttemptRecord| a.state != AttemptState::Failed;
        let fees = self
            .attempts
            .iter()
            .filter(counts)
            .map(AttemptRecord::fee_msat);
        fees.fold(0, u64::saturating_add)
    }
}
