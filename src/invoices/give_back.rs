//! Failing back held AMP shards: on timeout, when their set is invalid, when their invoice is
//! canceled, or when LDK has already failed them.

use lightning_types::payment::PaymentHash;

use super::accept_amp::Refusal;
use super::ledger::Ledger;
use super::open_sets::Held;
use super::registry::{Registry, now};
use crate::storage::Change;
use crate::storage::invoices::{HtlcState, PutHtlc, PutSet};
use ldk_amp::{FailReason, HtlcKey, SetId};

/// Blocks. An HTLC whose claim deadline is further away has certainly not been failed back by LDK,
/// even if the newest blocks were reorganized.
pub(super) const DEADLINE_MARGIN: u32 = 6;

/// HTLCs, grouped by set.
pub(super) type Keys = [(SetId, Vec<HtlcKey>)];

impl Registry {
    /// Marks these HTLCs as canceled in the database, then fails them.
    pub(super) fn fail_back(&self, ledger: &mut Ledger, keys: &Keys, reason: Refusal) {
        let (held, changes) = release(ledger, keys);
        if !changes.is_empty() {
            self.store.submit(changes);
        }
        self.fail_held(&held, reason);
    }

    /// Fails HTLCs returned by [`release`], whose rows are already queued.
    pub(super) fn fail_held(&self, held: &[Held], reason: Refusal) {
        for Held { row, envelope } in held {
            let hash = PaymentHash(row.payment_hash);
            reason.log(&hash, envelope);
            match reason {
                Refusal::Set(FailReason::MppTimeout) => self.port.fail_timed_out(&hash, envelope),
                _ => self.port.fail(&hash),
            }
        }
    }

    /// Fails HTLCs whose hold time is over at `now` (seconds since 1970) with `mpp_timeout`.
    /// Returns when the next one is due. Called by [`Registry::run_timers`]; tests pass their own
    /// time.
    pub fn expire_sets(&self, now: u64) -> Option<u64> {
        let mut ledger = self.ledger();
        let overdue = ledger.open.overdue(now);
        self.fail_back(&mut ledger, &overdue, FailReason::MppTimeout.into());
        let next = ledger.open.next_expiry();
        ledger.timer_at = next.unwrap_or(u64::MAX);
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
        let mut ledger = self.ledger();
        self.hold_gone(&mut ledger, hash);
        let Some((set_id, key)) = ledger.open.find(hash) else {
            return;
        };
        if self.is_far_from_deadline(&ledger, &set_id, &key) {
            tracing::info!(%hash, %set_id, "LDK refused a second HTLC with the hash of a held shard");
            return;
        }
        self.fail_back(&mut ledger, &[(set_id, vec![key])], Refusal::Gone);
    }

    fn is_far_from_deadline(&self, ledger: &Ledger, set_id: &SetId, key: &HtlcKey) -> bool {
        let open = ledger.open.get(set_id);
        let deadline = open
            .and_then(|open| open.htlcs.get(key))
            .and_then(|held| held.row.claim_deadline);
        let near = self.port.height().saturating_add(DEADLINE_MARGIN);
        deadline.is_some_and(|deadline| deadline > near)
    }
}

/// Removes these HTLCs from their sets and returns them with the changes to their rows.
pub(super) fn release(ledger: &mut Ledger, keys: &Keys) -> (Vec<Held>, Vec<Box<dyn Change>>) {
    let mut released = Vec::new();
    let mut changes: Vec<Box<dyn Change>> = Vec::new();
    for (set_id, keys) in keys.iter().filter(|(_, keys)| !keys.is_empty()) {
        let Some(mut set) = ledger
            .open
            .get(set_id)
            .map(|open| open.row(HtlcState::Canceled))
        else {
            continue;
        };
        for key in keys {
            let Some(mut held) = ledger.open.remove(set_id, key) else {
                continue;
            };
            set.amt_paid_msat = set.amt_paid_msat.saturating_sub(held.row.amount_msat);
            held.row.cancel(now());
            changes.push(Box::new(PutHtlc(held.row.clone())));
            released.push(held);
        }
        changes.push(Box::new(PutSet(set)));
    }
    (released, changes)
}
