//! Payments as shown to API clients.

use crate::storage::payments::{AttemptRecord, AttemptState, PaymentRecord, PaymentState};

/// A consistent view of a payment and its attempts.
#[derive(Clone)]
pub struct PaymentView {
    pub record: PaymentRecord,
    pub attempts: Vec<AttemptRecord>,
}

impl PaymentView {
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
