//! The state machine of one payment: what is in flight, what remains to be sent, and how it ends.
//!
//! Pure: no I/O and no clock. Every payment is a list of attempts, each one HTLC over one path.
//! Payment kinds differ only in the source of an attempt's payment hash: see [`super::shards`].

mod send_to_route;

use lightning_types::payment::{PaymentHash, PaymentPreimage};
use zeroize::Zeroizing;

use super::shards::{HashSource, ShardRandomness, ShardRecord};
use crate::model::attempt::{AttemptFailure, AttemptRecord, AttemptState, HopRecord};
use crate::model::payment::{FailureReason, PaymentRecord, PaymentState};
use ldk_amp::{Share, SplitError};

/// The next action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Find routes for this amount and send attempts.
    Send(Open),
    /// Attempts are in flight; wait until one of them ends.
    Wait,
    /// The payment is over.
    End(Ending),
}

/// The part of a payment that remains to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    pub amount_msat: u64,
    /// The remaining fee budget, in msat.
    pub fee_limit_msat: u64,
    /// The number of further attempts that may be in flight.
    pub parts: u32,
}

/// The result of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    Failed(FailureReason),
}

/// A new attempt to send.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    pub attempt_id: u64,
    pub hash: PaymentHash,
    /// AMP only: the contents of record 14.
    pub shard: Option<ShardRecord>,
}

/// A payment and its attempts.
///
/// The record's `failure_reason` is set as soon as no more attempts will be made, even while some
/// are in flight, so that the decision survives a restart.
#[derive(Clone)]
pub struct Lifecycle {
    pub record: PaymentRecord,
    pub attempts: Vec<AttemptRecord>,
    hash_source: HashSource,
    /// Set if the attempts come from the client (`SendToRoute`).
    send_to_route: Option<send_to_route::SendToRoute>,
}

impl Lifecycle {
    /// Creates a new payment.
    pub fn new(record: PaymentRecord, hash_source: HashSource) -> Self {
        Self {
            record,
            attempts: Vec::new(),
            hash_source,
            send_to_route: None,
        }
    }

    /// Restores a stored payment.
    pub fn restore(record: PaymentRecord, attempts: Vec<AttemptRecord>) -> Self {
        let mut lifecycle = if record.terms.by_route {
            Lifecycle::send_to_route(record)
        } else {
            let hash_source = HashSource::restore(&record, &attempts);
            Self::new(record, hash_source)
        };
        lifecycle.attempts = attempts;
        // The attempt's row may be on disk without the payment's.
        if lifecycle.attempts.iter().any(refused_by_receiver) {
            lifecycle.give_up(FailureReason::IncorrectPaymentDetails);
        }
        lifecycle.expect_no_more_attempts();
        lifecycle
    }

    /// Returns the next action at this time (seconds since 1970).
    pub fn step(&self, now: u64) -> Step {
        if self.send_to_route.is_some() {
            return self.step_send_to_route();
        }
        let in_flight = self.any(AttemptState::InFlight);
        let settled = self.any(AttemptState::Succeeded);
        let open = self.open_msat();
        match (settled, in_flight, self.stops_at(now)) {
            // One settled attempt proves that the receiver has the whole payment: never send more.
            (true, false, _) => Step::End(Ending::Succeeded),
            (true, true, _) => Step::Wait,
            (false, true, Some(_)) => Step::Wait,
            (false, false, Some(reason)) => Step::End(Ending::Failed(reason)),
            (false, _, None) if open == 0 => Step::Wait,
            (false, _, None) => self.send_step(open, in_flight),
        }
    }

    fn send_step(&self, open: u64, in_flight: bool) -> Step {
        let live = self.count(AttemptState::InFlight);
        let parts = self.record.terms.max_parts.saturating_sub(live);
        match (parts, in_flight) {
            (parts, true) if !self.fits(open, parts) => Step::Wait,
            (parts, false) if !self.fits(open, parts) => {
                Step::End(Ending::Failed(FailureReason::NoRoute))
            }
            (parts, _) => Step::Send(Open {
                amount_msat: open,
                fee_limit_msat: self
                    .record
                    .terms
                    .fee_limit_msat
                    .saturating_sub(self.live_sum(AttemptRecord::fee_msat)),
                parts,
            }),
        }
    }

    /// Returns whether this many attempts can carry the amount. If not, none is sent: the receiver
    /// would hold them until its timeout.
    fn fits(&self, open: u64, parts: u32) -> bool {
        match self.record.terms.max_shard_msat {
            0 => parts > 0,
            most => most.saturating_mul(u64::from(parts)) >= open,
        }
    }

    /// The reason why no more attempts are made, if there is one.
    fn stops_at(&self, now: u64) -> Option<FailureReason> {
        let late = now >= self.record.terms.deadline && self.open_msat() > 0;
        let gave_up = self.record.failure_reason;
        match gave_up {
            FailureReason::None => late.then_some(FailureReason::Timeout),
            reason => Some(reason),
        }
    }

    /// Stops further attempts. The first reason is kept; returns whether it is this one.
    pub fn give_up(&mut self, reason: FailureReason) -> bool {
        let is_first = self.record.failure_reason == FailureReason::None;
        if is_first {
            self.record.failure_reason = reason;
        }
        is_first
    }

    /// Adds an attempt over this path, in state in flight.
    ///
    /// # Errors
    /// If an AMP share cannot be split; nothing is added.
    pub fn attempt(
        &mut self,
        attempt_id: u64,
        route: Vec<HopRecord>,
        random: ShardRandomness,
        now_ns: u64,
    ) -> Result<NewAttempt, SplitError> {
        let amount = route.last().map_or(0, |hop| hop.amt_to_forward_msat);
        let last = amount >= self.open_msat();
        let (hash, shard) = self.hash_source.next(random, last)?;
        self.attempts.push(AttemptRecord {
            attempt_id,
            payment_index: self.record.payment_index,
            payment_hash: hash,
            shard: shard
                .as_ref()
                .map(|(share, index)| (Zeroizing::new(share.to_bytes()), *index)),
            state: AttemptState::InFlight,
            attempt_time_ns: now_ns,
            resolve_time_ns: None,
            preimage: None,
            route,
            failure: None,
        });
        Ok(NewAttempt {
            attempt_id,
            hash,
            shard,
        })
    }

    /// Marks an attempt as settled. Returns it if that is a change.
    ///
    /// Applies also to an attempt that was considered failed: the receiver has the money.
    pub fn settled(
        &mut self,
        attempt_id: u64,
        preimage: PaymentPreimage,
        now_ns: u64,
    ) -> Option<&AttemptRecord> {
        let mut attempts = self.attempts.iter_mut();
        let attempt =
            attempts.find(|a| a.attempt_id == attempt_id && a.state != AttemptState::Succeeded)?;
        self.record.preimage = Some(preimage);
        attempt.state = AttemptState::Succeeded;
        attempt.preimage = Some(preimage);
        attempt.resolve_time_ns = Some(now_ns);
        attempt.failure = None;
        Some(attempt)
    }

    /// Marks an attempt as failed. Its share is reused by later attempts; a failure from the
    /// receiver is final. Returns the attempt if that is a change.
    pub fn failed(
        &mut self,
        attempt_id: u64,
        failure: Option<AttemptFailure>,
        now_ns: u64,
    ) -> Option<&AttemptRecord> {
        // Applies also if a restart has already marked the attempt as failed.
        if failure.as_ref().is_some_and(|failure| failure.by_receiver) {
            self.give_up(FailureReason::IncorrectPaymentDetails);
        }
        let mut attempts = self.attempts.iter_mut();
        let attempt =
            attempts.find(|a| a.attempt_id == attempt_id && a.state == AttemptState::InFlight)?;
        attempt.state = AttemptState::Failed;
        attempt.resolve_time_ns = Some(now_ns);
        attempt.failure = failure;
        if let Some((share, _)) = &attempt.shard {
            self.hash_source.take_back(&Share::from_bytes(**share));
        }
        self.note_failure(attempt_id);
        self.attempts.iter().find(|a| a.attempt_id == attempt_id)
    }

    /// Ends the payment. The root is deleted, since nothing is derived from it any more; the shares
    /// are kept, as the API shows them with their attempts.
    pub fn end(&mut self, ending: Ending) {
        self.record.root = None;
        (self.record.state, self.record.failure_reason) = match ending {
            Ending::Succeeded => (PaymentState::Succeeded, FailureReason::None),
            Ending::Failed(reason) => (PaymentState::Failed, reason),
        };
    }

    /// Returns whether attempts are in flight.
    pub fn is_in_flight(&self) -> bool {
        self.any(AttemptState::InFlight)
    }

    /// The largest record 14 that an attempt may need; `None` if not AMP.
    pub(super) fn largest_shard(&self) -> Option<ShardRecord> {
        self.hash_source.largest_shard()
    }

    /// The amount that is neither in flight nor settled, in msat.
    pub fn open_msat(&self) -> u64 {
        let live = self.live_sum(AttemptRecord::amount_msat);
        self.record.terms.amount_msat.saturating_sub(live)
    }

    fn live_sum(&self, what: impl Fn(&AttemptRecord) -> u64) -> u64 {
        let live = self
            .attempts
            .iter()
            .filter(|a| a.state != AttemptState::Failed);
        live.fold(0, |sum, attempt| sum.saturating_add(what(attempt)))
    }

    fn any(&self, state: AttemptState) -> bool {
        self.attempts.iter().any(|attempt| attempt.state == state)
    }

    fn count(&self, state: AttemptState) -> u32 {
        let count = self
            .attempts
            .iter()
            .filter(|attempt| attempt.state == state)
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

fn refused_by_receiver(attempt: &AttemptRecord) -> bool {
    attempt
        .failure
        .as_ref()
        .is_some_and(|failure| failure.by_receiver)
}

#[cfg(test)]
mod tests;
