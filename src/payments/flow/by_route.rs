//! The state machine of a payment whose attempts come from outside.
//!
//! It is lnd's (`SendToRoute`): it succeeds if one attempt settled and none is in flight. It fails
//! once nothing is in flight and a failure counted: the receiver's refusal always does, any other
//! unless its attempt said otherwise. Without either it waits for the next attempt, and a restart
//! ends the waiting.

use std::collections::BTreeSet;

use super::{Ending, Flow, Step};
use crate::payments::SendError;
use crate::payments::by_route::ByRouteError;
use crate::payments::hashes::Hashes;
use crate::storage::payments::{
    AttemptRecord, AttemptState, FailureReason, PaymentRecord, PaymentTerms,
};
use lightning_types::payment::PaymentHash;

/// Attempts whose failure leaves the payment open. Not stored: nobody sends more after a restart.
#[derive(Debug, Clone, Default)]
pub(super) struct ByRoute {
    forgiving: BTreeSet<u64>,
}

impl Flow {
    /// A new payment, without attempts yet.
    pub fn by_route(record: PaymentRecord) -> Self {
        let hash = PaymentHash(record.identifier);
        Self {
            by_route: Some(ByRoute::default()),
            // Not used: each attempt brings its own.
            ..Self::new(record, Hashes::Same(hash))
        }
    }

    /// After a restart: whoever made the attempts is gone. The reason is lnd's.
    pub(super) fn expect_no_more_attempts(&mut self) {
        if self.by_route.is_some() && !self.is_in_flight() {
            self.give_up(FailureReason::NoRoute);
        }
    }

    /// Whether a further attempt with these terms, over so much (msat), fits into the payment.
    ///
    /// # Errors
    /// What is wrong with it, in lnd's order.
    pub fn takes(&self, terms: &PaymentTerms, amount_msat: u64) -> Result<(), ByRouteError> {
        let ours = &self.record.terms;
        if self.by_route.is_none() {
            return Err(SendError::InFlight.into());
        }
        if self.any(AttemptState::Succeeded) {
            return Err(SendError::AlreadyPaid.into());
        }
        if self.record.failure_reason != FailureReason::None {
            return Err(ByRouteError::IsFailing);
        }
        match (ours.payment_addr, terms.payment_addr) {
            // A whole payment while it, or its like, is under way.
            (None, None) if self.is_in_flight() => return Err(SendError::InFlight.into()),
            (Some(_), None) => return Err(ByRouteError::HasParts),
            (None, Some(_)) => return Err(ByRouteError::IsWhole),
            (ours, theirs) if ours != theirs => return Err(ByRouteError::OtherAddress),
            _ => {}
        }
        if ours.amount_msat != terms.amount_msat {
            return Err(ByRouteError::OtherTotal);
        }
        if amount_msat > self.open_msat() {
            return Err(ByRouteError::MoreThanTotal);
        }
        Ok(())
    }

    /// Adds an attempt that is in flight from now on. `forgiving`: see the module.
    pub fn add_given(&mut self, attempt: AttemptRecord, forgiving: bool) {
        if let Some(by_route) = &mut self.by_route
            && forgiving
        {
            by_route.forgiving.insert(attempt.attempt_id);
        }
        self.attempts.push(attempt);
    }

    pub(super) fn step_by_route(&self) -> Step {
        if self.is_in_flight() {
            return Step::Wait;
        }
        match (
            self.any(AttemptState::Succeeded),
            self.record.failure_reason,
        ) {
            (true, _) => Step::End(Ending::Succeeded),
            (false, FailureReason::None) => Step::Wait,
            (false, reason) => Step::End(Ending::Failed(reason)),
        }
    }

    /// The failure of this attempt, which is not the receiver's refusal.
    pub(super) fn note_failure(&mut self, attempt_id: u64) {
        let counts = |by_route: &ByRoute| !by_route.forgiving.contains(&attempt_id);
        if self.by_route.as_ref().is_some_and(counts) {
            self.give_up(FailureReason::Error);
        }
    }
}

#[cfg(test)]
mod tests;
