//! One payment's state machine: what is in flight, what is still to be sent, how it ends.
//!
//! Pure: no I/O and no clock. All kinds of payments are a list of attempts, each an HTLC of its own
//! over one path. They differ only in where an attempt's payment hash comes from: see
//! [`super::hashes`].

mod by_route;

use lightning_types::payment::PaymentHash;
use zeroize::Zeroizing;

use super::hashes::{Hashes, ShardRandomness, ShardRecord};
use ldk_amp::{Share, SplitError};
use crate::storage::payments::{
    AttemptFailure, AttemptRecord, AttemptState, FailureReason, HopRecord, PaymentRecord,
    PaymentState,
};

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Find routes for this amount and send them.
    Send(Open),
    /// Attempts are in flight; nothing to do until one of them ends.
    Wait,
    /// It is over.
    End(Ending),
}

/// What is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    pub amount_msat: u64,
    /// What is left of the fee limit.
    pub fee_limit_msat: u64,
    /// How many more attempts may be in flight at once.
    pub parts: u32,
}

/// How a payment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    Failed(FailureReason),
}

/// A new attempt as it is to be sent.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    pub attempt_id: u64,
    pub hash: PaymentHash,
    /// AMP only: what goes into record 14.
    pub shard: Option<ShardRecord>,
}

/// A payment and its attempts.
///
/// Why it makes no more attempts, if so, is the record's `failure_reason`, also while attempts are
/// in flight: so it outlives a restart.
#[derive(Clone)]
pub struct Flow {
    pub record: PaymentRecord,
    pub attempts: Vec<AttemptRecord>,
    hashes: Hashes,
    /// Its attempts come from outside.
    by_route: Option<by_route::ByRoute>,
}

impl Flow {
    /// A new payment.
    pub fn new(record: PaymentRecord, hashes: Hashes) -> Self {
        Self {
            record,
            attempts: Vec::new(),
            hashes,
            by_route: None,
        }
    }

    /// A payment as it was stored.
    pub fn restore(record: PaymentRecord, attempts: Vec<AttemptRecord>) -> Self {
        let mut flow = if record.terms.by_route {
            Self::by_route(record)
        } else {
            let hashes = Hashes::restore(&record, &attempts);
            Self::new(record, hashes)
        };
        flow.attempts = attempts;
        // An attempt's row may be on disk without the payment's.
        if flow.attempts.iter().any(refused_by_receiver) {
            flow.give_up(FailureReason::IncorrectPaymentDetails);
        }
        flow.expect_no_more_attempts();
        flow
    }

    /// What to do at this moment (seconds since 1970).
    pub fn step(&self, now: u64) -> Step {
        if self.by_route.is_some() {
            return self.step_by_route();
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

    /// Whether so many attempts can carry the amount at all. If not, none is sent: the receiver
    /// would hold them until its patience ends.
    fn fits(&self, open: u64, parts: u32) -> bool {
        match self.record.terms.max_shard_msat {
            0 => parts > 0,
            most => most.saturating_mul(u64::from(parts)) >= open,
        }
    }

    /// Why no more attempts are made, if so.
    fn stops_at(&self, now: u64) -> Option<FailureReason> {
        let late = now >= self.record.terms.deadline && self.open_msat() > 0;
        let gave_up = self.record.failure_reason;
        match gave_up {
            FailureReason::None => late.then_some(FailureReason::Timeout),
            reason => Some(reason),
        }
    }

    /// No more attempts, for this reason. The first reason stays; returns whether this is it.
    pub fn give_up(&mut self, reason: FailureReason) -> bool {
        let is_first = self.record.failure_reason == FailureReason::None;
        if is_first {
            self.record.failure_reason = reason;
        }
        is_first
    }

    /// Adds an attempt over this path. It counts as in flight from now on.
    ///
    /// # Errors
    /// If an AMP share cannot be split; nothing is added then.
    pub fn attempt(
        &mut self,
        attempt_id: u64,
        route: Vec<HopRecord>,
        random: ShardRandomness,
        now_ns: u64,
    ) -> Result<NewAttempt, SplitError> {
        let amount = route.last().map_or(0, |hop| hop.amt_to_forward_msat);
        let last = amount >= self.open_msat();
        let (hash, shard) = self.hashes.next(random, last)?;
        self.attempts.push(AttemptRecord {
            attempt_id,
            payment_index: self.record.payment_index,
            payment_hash: hash.0,
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

    /// The attempt settled. Returns it if that is news.
    ///
    /// It also counts if the attempt was taken for failed: the receiver has the money.
    pub fn settled(
        &mut self,
        attempt_id: u64,
        preimage: [u8; 32],
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

    /// The attempt came back. Its share is free for the attempts that follow; a refusal by the
    /// receiver is final. Returns it if that is news.
    pub fn failed(
        &mut self,
        attempt_id: u64,
        failure: Option<AttemptFailure>,
        now_ns: u64,
    ) -> Option<&AttemptRecord> {
        // Also if the attempt is counted as failed since a restart that came before this news.
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
            self.hashes.take_back(&Share::from_bytes(**share));
        }
        self.note_failure(attempt_id);
        self.attempts.iter().find(|a| a.attempt_id == attempt_id)
    }

    /// The payment is over: what is stored of it from now on. The root goes, nothing is derived from
    /// it any more; the shares stay, callers see them with their attempts.
    pub fn end(&mut self, ending: Ending) {
        self.record.root = None;
        (self.record.state, self.record.failure_reason) = match ending {
            Ending::Succeeded => (PaymentState::Succeeded, FailureReason::None),
            Ending::Failed(reason) => (PaymentState::Failed, reason),
        };
    }

    /// Whether attempts are under way.
    pub fn is_in_flight(&self) -> bool {
        self.any(AttemptState::InFlight)
    }

    /// The largest record 14 that an attempt may need, if any.
    pub(super) fn largest_shard(&self) -> Option<ShardRecord> {
        self.hashes.largest_shard()
    }

    /// What is neither in flight nor settled, msat.
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
