//! One payment's state machine: what is in flight, what is still to be sent, how it ends.
//!
//! Pure: no I/O and no clock. All kinds of payments are a list of attempts, each an HTLC of its own
//! over one path. They differ only in where an attempt's payment hash comes from: an AMP shard has a
//! child hash of its own, the parts of a BOLT 11 payment share the invoice's.

mod by_route;

use lightning_types::payment::PaymentHash;
use zeroize::Zeroizing;

use crate::amp::{Share, SplitError, Splitter};
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

/// Where an attempt's payment hash comes from.
#[derive(Debug, Clone)]
pub enum Hashes {
    /// Each attempt has its own, derived from a share of the root.
    Amp(Splitter),
    /// All attempts pay to this one.
    Bolt11(PaymentHash),
}

/// A new attempt as it is to be sent.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    pub attempt_id: u64,
    pub hash: PaymentHash,
    /// AMP only: what goes into record 14.
    pub shard: Option<(Share, u32)>,
}

/// Randomness for one AMP shard.
pub struct ShardRandomness {
    pub share: [u8; 32],
    pub index: u32,
}

/// A payment and its attempts.
#[derive(Clone)]
pub struct Flow {
    pub record: PaymentRecord,
    pub attempts: Vec<AttemptRecord>,
    hashes: Hashes,
    gave_up: Option<FailureReason>,
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
            gave_up: None,
            by_route: None,
        }
    }

    /// A payment as it was stored. What made it give up is seen from its attempts again.
    pub fn restore(record: PaymentRecord, attempts: Vec<AttemptRecord>) -> Self {
        let mut flow = if record.terms.by_route {
            Self::restore_by_route(record, attempts)
        } else {
            Self::restore_own(record, attempts)
        };
        if flow.attempts.iter().any(refused_by_receiver) {
            flow.give_up(FailureReason::IncorrectPaymentDetails);
        }
        flow.expect_no_more_attempts();
        flow
    }

    fn restore_own(record: PaymentRecord, attempts: Vec<AttemptRecord>) -> Self {
        let hashes = match &record.root {
            Some(root) => Hashes::Amp(restore_splitter(root, &attempts)),
            None => Hashes::Bolt11(PaymentHash(record.identifier)),
        };
        Self {
            attempts,
            ..Self::new(record, hashes)
        }
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
        self.gave_up.or(late.then_some(FailureReason::Timeout))
    }

    /// No more attempts, for this reason. The first reason stays.
    pub fn give_up(&mut self, reason: FailureReason) {
        self.gave_up.get_or_insert(reason);
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
        let (hash, shard) = match &mut self.hashes {
            Hashes::Bolt11(hash) => (*hash, None),
            Hashes::Amp(splitter) => {
                let shard = splitter.next_shard(random.share, random.index, last)?;
                (shard.child.hash, Some((shard.share, shard.index)))
            }
        };
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
    pub fn settled(
        &mut self,
        attempt_id: u64,
        preimage: [u8; 32],
        now_ns: u64,
    ) -> Option<&AttemptRecord> {
        self.record.preimage = Some(preimage);
        let attempt = self.unresolved(attempt_id)?;
        attempt.state = AttemptState::Succeeded;
        attempt.preimage = Some(preimage);
        attempt.resolve_time_ns = Some(now_ns);
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
        let attempt = self.unresolved(attempt_id)?;
        attempt.state = AttemptState::Failed;
        attempt.resolve_time_ns = Some(now_ns);
        attempt.failure = failure;
        let attempt = attempt.clone();
        self.note_failure(attempt_id);
        if let (Hashes::Amp(splitter), Some((share, _))) = (&mut self.hashes, &attempt.shard) {
            splitter.merge_back(&Share::from_bytes(**share));
        }
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

    fn unresolved(&mut self, attempt_id: u64) -> Option<&mut AttemptRecord> {
        let mut attempts = self.attempts.iter_mut();
        attempts.find(|a| a.attempt_id == attempt_id && a.state == AttemptState::InFlight)
    }
}

fn refused_by_receiver(attempt: &AttemptRecord) -> bool {
    attempt
        .failure
        .as_ref()
        .is_some_and(|failure| failure.by_receiver)
}

fn restore_splitter(root: &[u8; 32], attempts: &[AttemptRecord]) -> Splitter {
    let live: Vec<Share> = attempts
        .iter()
        .filter(|attempt| attempt.state != AttemptState::Failed)
        .filter_map(|attempt| attempt.shard.as_ref())
        .map(|(share, _)| Share::from_bytes(**share))
        .collect();
    Splitter::restore(Share::from_bytes(*root), &live)
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::{Hash, sha256};
    use proptest::prelude::*;

    use super::*;
    use crate::amp::Child;
    use crate::storage::payments::PaymentTerms;

    const DEADLINE: u64 = 100;

    fn payment(amount_msat: u64, root: Option<[u8; 32]>) -> PaymentRecord {
        PaymentRecord {
            payment_index: 1,
            identifier: [7; 32],
            created_at_ns: 0,
            state: PaymentState::InFlight,
            failure_reason: FailureReason::None,
            preimage: None,
            root: root.map(Zeroizing::new),
            terms: PaymentTerms {
                amount_msat,
                fee_limit_msat: 1_000,
                max_parts: 4,
                deadline: DEADLINE,
                ..PaymentTerms::default()
            },
        }
    }

    fn amp(amount_msat: u64) -> Flow {
        let root = [9; 32];
        let hashes = Hashes::Amp(Splitter::new(Share::from_bytes(root)));
        Flow::new(payment(amount_msat, Some(root)), hashes)
    }

    fn path(amount_msat: u64, fee_msat: u64) -> Vec<HopRecord> {
        let hop = |amt_to_forward_msat, fee_msat| HopRecord {
            node_id: String::new(),
            scid: 1,
            amt_to_forward_msat,
            fee_msat,
            ..HopRecord::default()
        };
        vec![hop(amount_msat, fee_msat), hop(amount_msat, 0)]
    }

    fn send(flow: &mut Flow, id: u64, amount: u64) -> NewAttempt {
        let random = ShardRandomness {
            // Equal bytes would soon XOR to what is left of the root, which nothing random does.
            share: sha256::Hash::hash(&id.to_be_bytes()).to_byte_array(),
            index: id as u32,
        };
        flow.attempt(id, path(amount, 10), random, 0).unwrap()
    }

    fn refusal() -> Option<AttemptFailure> {
        Some(AttemptFailure {
            by_receiver: true,
            source_index: 2,
            height: 0,
        })
    }

    #[test]
    fn what_is_open_is_the_amount_without_what_is_in_flight() {
        let mut flow = amp(100);
        assert_eq!(
            flow.step(0),
            Step::Send(Open {
                amount_msat: 100,
                fee_limit_msat: 1_000,
                parts: 4
            })
        );
        send(&mut flow, 1, 60);
        assert_eq!(
            flow.step(0),
            Step::Send(Open {
                amount_msat: 40,
                fee_limit_msat: 990,
                parts: 3
            })
        );
        send(&mut flow, 2, 40);
        assert_eq!(flow.step(0), Step::Wait);
    }

    #[test]
    fn a_failed_shard_is_open_again_with_another_hash() {
        let mut flow = amp(100);
        let first = send(&mut flow, 1, 100);
        flow.failed(1, None, 5).unwrap();
        assert!(matches!(
            flow.step(0),
            Step::Send(Open {
                amount_msat: 100,
                ..
            })
        ));
        let second = send(&mut flow, 2, 100);
        assert_ne!(first.hash, second.hash);
    }

    #[test]
    fn a_refusal_by_the_receiver_ends_the_payment_once_nothing_is_in_flight() {
        let mut flow = amp(100);
        send(&mut flow, 1, 60);
        send(&mut flow, 2, 40);
        flow.failed(1, refusal(), 0);
        assert_eq!(flow.step(0), Step::Wait);
        flow.failed(2, None, 0);
        let reason = FailureReason::IncorrectPaymentDetails;
        assert_eq!(flow.step(0), Step::End(Ending::Failed(reason)));
    }

    #[test]
    fn nothing_is_sent_after_a_settle() {
        let mut flow = amp(100);
        send(&mut flow, 1, 60);
        send(&mut flow, 2, 40);
        flow.failed(2, None, 0);
        flow.settled(1, [1; 32], 0).unwrap();
        assert_eq!(flow.step(0), Step::End(Ending::Succeeded));
    }

    #[test]
    fn the_time_limit_stops_attempts_but_waits_for_those_in_flight() {
        let mut flow = amp(100);
        send(&mut flow, 1, 100);
        assert_eq!(flow.step(DEADLINE), Step::Wait);
        flow.failed(1, None, 0);
        let reason = FailureReason::Timeout;
        assert_eq!(flow.step(DEADLINE), Step::End(Ending::Failed(reason)));
    }

    #[test]
    fn a_second_end_of_an_attempt_is_no_news() {
        let mut flow = amp(100);
        send(&mut flow, 1, 100);
        assert!(flow.settled(1, [1; 32], 0).is_some());
        assert!(flow.settled(1, [1; 32], 0).is_none());
        assert!(flow.failed(1, None, 0).is_none());
    }

    #[test]
    fn the_parts_of_a_bolt11_payment_share_its_hash() {
        let hash = PaymentHash([7; 32]);
        let mut flow = Flow::new(payment(100, None), Hashes::Bolt11(hash));
        assert_eq!(send(&mut flow, 1, 50).hash, hash);
        assert_eq!(send(&mut flow, 2, 50).hash, hash);
    }

    #[test]
    fn nothing_is_sent_if_the_largest_attempts_cannot_carry_it() {
        let mut record = payment(100, Some([9; 32]));
        record.terms.max_shard_msat = 24;
        let hashes = || Hashes::Amp(Splitter::new(Share::from_bytes([9; 32])));
        let flow = Flow::new(record.clone(), hashes());
        let no_route = Step::End(Ending::Failed(FailureReason::NoRoute));
        assert_eq!(flow.step(0), no_route);
        record.terms.max_shard_msat = 25;
        let mut flow = Flow::new(record, hashes());
        assert!(matches!(flow.step(0), Step::Send(_)));
        send(&mut flow, 1, 20);
        assert_eq!(flow.step(0), Step::Wait, "80 are left for 3 times 25");
    }

    #[test]
    fn a_refusal_that_is_told_after_a_restart_still_counts() {
        let mut flow = amp(100);
        send(&mut flow, 1, 100);
        flow.failed(1, None, 0).unwrap();
        assert!(flow.failed(1, refusal(), 0).is_none());
        let reason = FailureReason::IncorrectPaymentDetails;
        assert_eq!(flow.step(0), Step::End(Ending::Failed(reason)));
    }

    #[test]
    fn the_root_is_not_kept_once_the_payment_is_over() {
        let mut flow = amp(100);
        send(&mut flow, 1, 100);
        flow.settled(1, [1; 32], 0).unwrap();
        flow.end(Ending::Succeeded);
        assert!(flow.record.root.is_none());
        assert!(flow.attempts[0].shard.is_some());
    }

    #[derive(Debug, Clone)]
    enum Act {
        Send(u64),
        Fail(usize),
        Restore,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            3 => (1..60u64).prop_map(Act::Send),
            2 => (0..8usize).prop_map(Act::Fail),
            1 => Just(Act::Restore),
        ];
        proptest::collection::vec(act, 1..40)
    }

    proptest! {
        /// Whatever fails and whenever the node restarts: never more than the amount is in flight,
        /// and once all of it is, the receiver's reconstruction gives each attempt's hash.
        #[test]
        fn shards_in_flight_always_reconstruct(acts in acts()) {
            let mut flow = amp(100);
            let mut id = 0;
            for act in acts {
                match act {
                    Act::Send(amount) => {
                        if let Step::Send(open) = flow.step(0) {
                            id += 1;
                            send(&mut flow, id, amount.min(open.amount_msat));
                        }
                    }
                    Act::Fail(n) => {
                        let live: Vec<_> = live(&flow).map(|a| a.attempt_id).collect();
                        if let Some(id) = live.get(n) {
                            flow.failed(*id, None, 0);
                        }
                    }
                    Act::Restore => {
                        flow = Flow::restore(flow.record.clone(), flow.attempts.clone());
                    }
                }
                prop_assert!(live(&flow).map(AttemptRecord::amount_msat).sum::<u64>() <= 100);
                if flow.open_msat() == 0 {
                    prop_assert!(reconstructs(&flow));
                }
            }
        }
    }

    fn live(flow: &Flow) -> impl Iterator<Item = &AttemptRecord> {
        flow.attempts
            .iter()
            .filter(|a| a.state == AttemptState::InFlight)
    }

    fn reconstructs(flow: &Flow) -> bool {
        let shards: Vec<_> = live(flow)
            .map(|a| (a.payment_hash, a.shard.clone().unwrap()))
            .collect();
        let shares = shards
            .iter()
            .map(|(_, (share, _))| Share::from_bytes(**share));
        let root = shares.fold(Share::ZERO, |sum, share| sum.xor(&share));
        shards.iter().all(|(hash, (share, index))| {
            Child::derive(&root, &Share::from_bytes(**share), *index)
                .hash
                .0
                == *hash
        })
    }
}
