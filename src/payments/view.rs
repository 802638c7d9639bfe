//! A payment as callers see it.

use crate::storage::payments::{AttemptRecord, AttemptState, PaymentRecord, PaymentState};

/// A payment and its attempts at one moment.
#[derive(Clone)]
pub struct PaymentView {
    pub record: PaymentRecord,
    pub attempts: Vec<AttemptRecord>,
}

impl PaymentView {
    /// Nothing will change any more.
    pub fn is_final(&self) -> bool {
        self.record.state != PaymentState::InFlight
    }

    /// What was paid for routing, msat: of the settled attempts once it is over, of those in flight
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
