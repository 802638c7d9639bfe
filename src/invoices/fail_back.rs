//! Failing back held AMP shards: on timeout, when their set is invalid, when their invoice is
//! canceled, or when LDK has already failed them.

use lightning_types::payment::PaymentHash;

use super::amp_refusal::Refusal;
use super::amp_sets::Held;
use super::decision::Decision;
use super::registry::Registry;
use super::state::State;
use crate::clock::unix_seconds;
use crate::model::htlc::{HtlcRecord, HtlcState};
use crate::storage::invoices::{PutHtlc, PutSet};
use ldk_amp::{FailReason, HtlcKey, SetId};

/// Blocks. An HTLC whose claim deadline is further away has certainly not been failed back by LDK,
/// even if the newest blocks were reorganized.
pub(super) const DEADLINE_MARGIN: u32 = 6;

/// HTLCs, grouped by set.
pub(super) type Keys = [(SetId, Vec<HtlcKey>)];

impl Registry {
    /// Fails HTLCs whose hold time is over at `now` (seconds since 1970) with `mpp_timeout`.
    /// Returns when the next one is due. Called by [`Registry::run_timers`]; tests pass their own
    /// time.
    pub fn expire_sets(&self, now: u64) -> Option<u64> {
        let mut state = self.state();
        let overdue = state.open.overdue(now);
        let failed = fail_back(&mut state, &overdue, FailReason::MppTimeout.into());
        self.carry_out(&mut state, failed);
        let next = state.open.next_expiry();
        state.timer_at = next.unwrap_or(u64::MAX);
        next
    }

    /// Handles `Event::HTLCHandlingFailed` for a payment to us: LDK has failed an HTLC with this
    /// hash.
    ///
    /// If the claim deadline has passed, this is the HTLC that we hold. Far from the deadline it is
    /// another one: a node that forwarded a shard knows its hash and can send a second HTLC with
    /// it, which LDK fails without touching the first. In between it may be either. In that case we
    /// cancel our row and fail the hash in LDK as well, because database and channel must agree: an
    /// HTLC left in the channel alone would stay there until its expiry.
    pub fn htlc_gone(&self, hash: &PaymentHash) {
        let mut state = self.state();
        let gone = self.hold_gone(&mut state, hash);
        self.carry_out(&mut state, gone);
        let Some((set_id, key)) = state.open.find(hash) else {
            return;
        };
        if self.is_far_from_deadline(&state, &set_id, &key) {
            tracing::info!(%hash, %set_id, "LDK refused a second HTLC with the hash of a held shard");
            return;
        }
        let failed = fail_back(&mut state, &[(set_id, vec![key])], Refusal::Gone);
        self.carry_out(&mut state, failed);
    }

    fn is_far_from_deadline(&self, state: &State, set_id: &SetId, key: &HtlcKey) -> bool {
        let open = state.open.get(set_id);
        let deadline = open
            .and_then(|open| open.htlcs.get(key))
            .and_then(|held| held.row.claim_deadline);
        let near = self.inbound.height().saturating_add(DEADLINE_MARGIN);
        deadline.is_some_and(|deadline| deadline > near)
    }
}

/// Removes these HTLCs from their sets. The decision writes their rows as canceled and fails them in
/// LDK; it must be carried out.
pub(super) fn fail_back(state: &mut State, keys: &Keys, reason: Refusal) -> Decision {
    release(state, keys, reason).0
}

/// As [`fail_back`], also returns the rows.
pub(super) fn release(
    state: &mut State,
    keys: &Keys,
    reason: Refusal,
) -> (Decision, Vec<HtlcRecord>) {
    let mut decision = Decision::default().urgently();
    let mut rows = Vec::new();
    for (set_id, keys) in keys.iter().filter(|(_, keys)| !keys.is_empty()) {
        let open = state.open.get(set_id);
        let Some(mut set) = open.map(|open| open.row(HtlcState::Canceled)) else {
            continue;
        };
        for key in keys {
            let Some(Held { mut row, envelope }) = state.open.remove(set_id, key) else {
                continue;
            };
            set.amt_paid_msat = set.amt_paid_msat.saturating_sub(row.amount_msat);
            row.cancel(unix_seconds());
            decision = decision
                .and_row(PutHtlc(row.clone()))
                .and_answer(reason.answer(&row.payment_hash, envelope));
            rows.push(row);
        }
        decision = decision.and_row(PutSet(set));
    }
    (decision, rows)
}
