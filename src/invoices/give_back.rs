//! Held AMP shards go back: their time is over, their set is bad, their invoice was canceled, or LDK
//! has given them back by itself.

use lightning_types::payment::PaymentHash;

use super::accept_amp::Refusal;
use super::ledger::Ledger;
use super::open_sets::Held;
use super::registry::{Registry, now};
use ldk_amp::{FailReason, HtlcKey, SetId};
use crate::storage::Change;
use crate::storage::invoices::{HtlcState, PutHtlc, PutSet};

/// How far from its claim deadline, in blocks, LDK has surely not given an HTLC back by itself, even
/// if the newest blocks were replaced by others.
pub(super) const DEADLINE_MARGIN: u32 = 6;

/// Which HTLCs, by their sets.
pub(super) type Keys = [(SetId, Vec<HtlcKey>)];

impl Registry {
    /// Cancels these HTLCs in our books, then fails them.
    pub(super) fn give_back(&self, ledger: &mut Ledger, keys: &Keys, reason: Refusal) {
        let (held, changes) = release(ledger, keys);
        if !changes.is_empty() {
            self.store.submit(changes);
        }
        self.fail_held(&held, reason);
    }

    /// Fails what was released. Its rows are queued before.
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

    /// Fails with `mpp_timeout` what was held for too long at `now` (seconds since 1970). Returns
    /// when the next one is due. [`Registry::run_timers`] calls it; tests give it a time of their own.
    pub fn expire_sets(&self, now: u64) -> Option<u64> {
        let mut ledger = self.ledger();
        let overdue = ledger.open.overdue(now);
        self.give_back(&mut ledger, &overdue, FailReason::MppTimeout.into());
        let next = ledger.open.next_expiry();
        ledger.timer_at = next.unwrap_or(u64::MAX);
        next
    }

    /// `Event::HTLCHandlingFailed` for a payment to us: LDK has given an HTLC of this hash back by
    /// itself.
    ///
    /// It is the one that we hold if its claim deadline has come. Far from it, it is another one:
    /// whoever forwarded a shard knows its hash and can send a second HTLC with it, which LDK refuses
    /// without touching the first. In between it may be either. Then what leaves our books is failed
    /// in LDK, too, since books and channel must agree: kept in the channel alone, it would stay
    /// there until its expiry.
    pub fn htlc_gone(&self, hash: &PaymentHash) {
        let mut ledger = self.ledger();
        self.hold_gone(&mut ledger, hash);
        let Some((set_id, key)) = ledger.open.find(hash) else {
            return;
        };
        if self.is_far_from_its_deadline(&ledger, &set_id, &key) {
            tracing::info!(%hash, %set_id, "LDK refused a second HTLC with the hash of a held shard");
            return;
        }
        self.give_back(&mut ledger, &[(set_id, vec![key])], Refusal::Gone);
    }

    fn is_far_from_its_deadline(&self, ledger: &Ledger, set_id: &SetId, key: &HtlcKey) -> bool {
        let open = ledger.open.get(set_id);
        let deadline = open
            .and_then(|open| open.htlcs.get(key))
            .and_then(|held| held.row.claim_deadline);
        let near = self.port.height().saturating_add(DEADLINE_MARGIN);
        deadline.is_some_and(|deadline| deadline > near)
    }
}

/// Takes these HTLCs out of their sets, with the rows that say so.
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
