//! The state machine of `SendToRoute` payments.
//!
//! The rules are lnd's: the payment succeeds if one attempt has settled and none is in flight. It
//! fails once none is in flight and a failure counted. A failure from the receiver always counts,
//! any other one unless its attempt has `skip_temp_err`. Otherwise it waits for the next attempt,
//! until a restart.

use std::collections::BTreeSet;

use super::{Ending, Lifecycle, Step};
use crate::model::attempt::{AttemptRecord, AttemptState};
use crate::model::payment::{FailureReason, PaymentRecord, PaymentTerms};
use crate::payments::shards::HashSource;
use crate::payments::{SendError, SendToRouteError};
use lightning_types::payment::PaymentHash;

/// Attempts whose failure leaves the payment open. Not stored: after a restart no more are sent.
#[derive(Debug, Clone, Default)]
pub(super) struct SendToRoute {
    forgiving: BTreeSet<u64>,
}

impl Lifecycle {
    /// Creates a new payment without attempts.
    pub fn send_to_route(record: PaymentRecord) -> Self {
        let hash = PaymentHash(record.identifier);
        Self {
            send_to_route: Some(SendToRoute::default()),
            // Not used: each attempt has its own hash.
            ..Self::new(record, HashSource::Same(hash))
        }
    }

    /// Applied after a restart: the clients are gone. The failure reason is lnd's.
    pub(super) fn expect_no_more_attempts(&mut self) {
        if self.send_to_route.is_some() && !self.is_in_flight() {
            self.give_up(FailureReason::NoRoute);
        }
    }

    /// Checks whether a further attempt with these terms and this amount (msat) fits into the
    /// payment.
    ///
    /// # Errors
    ///
    /// The first mismatch, in lnd's order.
    pub fn takes(&self, terms: &PaymentTerms, amount_msat: u64) -> Result<(), SendToRouteError> {
        let ours = &self.record.terms;
        if self.send_to_route.is_none() {
            return Err(SendError::InFlight.into());
        }
        if self.any(AttemptState::Succeeded) {
            return Err(SendError::AlreadyPaid.into());
        }
        if self.record.failure_reason != FailureReason::None {
            return Err(SendToRouteError::IsFailing);
        }
        match (ours.payment_addr, terms.payment_addr) {
            // Not an MPP attempt, and another one is in flight.
            (None, None) if self.is_in_flight() => return Err(SendError::InFlight.into()),
            (Some(_), None) => return Err(SendToRouteError::HasParts),
            (None, Some(_)) => return Err(SendToRouteError::IsWhole),
            (ours, theirs) if ours != theirs => return Err(SendToRouteError::OtherAddress),
            _ => {}
        }
        if ours.amount_msat != terms.amount_msat {
            return Err(SendToRouteError::OtherTotal);
        }
        if amount_msat > self.open_msat() {
            return Err(SendToRouteError::MoreThanTotal);
        }
        Ok(())
    }

    /// Adds an attempt in state in flight. `forgiving`: its failure leaves the payment open.
    pub fn add_given(&mut self, attempt: AttemptRecord, forgiving: bool) {
        if let Some(send_to_route) = &mut self.send_to_route
            && forgiving
        {
            send_to_route.forgiving.insert(attempt.attempt_id);
        }
        self.attempts.push(attempt);
    }

    pub(super) fn step_send_to_route(&self) -> Step {
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

    /// Records the failure of this attempt, which does not come from the receiver.
    pub(super) fn note_failure(&mut self, attempt_id: u64) {
        let counts = |send_to_route: &SendToRoute| !send_to_route.forgiving.contains(&attempt_id);
        if self.send_to_route.as_ref().is_some_and(counts) {
            self.give_up(FailureReason::Error);
        }
    }
}

#[cfg(test)]
mod tests;
