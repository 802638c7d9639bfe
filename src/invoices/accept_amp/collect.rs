//! Adding a shard to its set, and the set's decision: hold, settle or fail.

use lightning_types::payment::PaymentHash;

use super::rules::Shard;
use crate::clock::unix_seconds;
use crate::invoices::amp_refusal::Refusal;
use crate::invoices::decision::Decision;
use crate::invoices::event::InvoiceEvent;
use crate::invoices::fail_back::fail_back;
use crate::invoices::registry::Registry;
use crate::invoices::state::State;
use crate::invoices::{InvoiceView, SETTLED};
use crate::model::htlc::{HtlcRecord, HtlcState, SetRecord};
use crate::model::invoice::InvoiceKind;
use crate::storage::invoices::{NeverExpires, PutHtlc, PutSet};
use crash_points::Point;
use ldk_amp::Envelope;
use ldk_amp::{Claim, HtlcKey, HtlcRef, Outcome, SetId};

impl Registry {
    /// Adds the shard to its set and returns what the set decides.
    pub(super) fn collect(&self, state: &mut State, mut shard: Shard) -> Decision {
        if shard.is_new_invoice {
            shard.invoice.add_index = state.next_add_index();
        }
        shard.held.row.add_index = shard.invoice.add_index;
        let envelope = shard.held.envelope.clone();
        let hash = shard.held.row.payment_hash;
        let outcome = state.open.accept(
            &shard.invoice,
            shard.held,
            self.limits.set,
            self.inbound.height(),
        );
        let (set_id, key) = (envelope.amp.set_id, envelope.key());
        let decision = match outcome {
            Outcome::Hold => self.hold(state, set_id, &key),
            Outcome::Settle(claims) => settle(state, set_id, claims),
            Outcome::Fail { reason, htlcs } => {
                return fail(state, reason.into(), &htlcs, &hash, envelope);
            }
        };
        metrics::counter!("ampd_htlcs_accepted_total").increment(1);
        match shard.is_new_invoice {
            true => Decision::default()
                .and_new_invoice(shard.invoice)
                .and(decision),
            false => decision,
        }
    }

    fn hold(&self, state: &mut State, set_id: SetId, key: &HtlcKey) -> Decision {
        let Some(open) = state.open.get(&set_id) else {
            return Decision::default();
        };
        let decision = Decision::default()
            .and_row(PutSet(open.row(HtlcState::Accepted)))
            .passing(Point::Stored);
        let Some(held) = open.htlcs.get(key) else {
            return decision;
        };
        let decision = decision.and_row(PutHtlc(held.row.clone()));
        let hold_seconds = self.limits.set.hold_seconds;
        let due = held.row.accepted_at.saturating_add(hold_seconds);
        if due < state.timer_at {
            state.timer_at = due;
            self.timer.notify_one();
        }
        decision
    }
}

fn settle(state: &mut State, set_id: SetId, claims: Vec<Claim>) -> Decision {
    let Some(mut open) = state.open.take(&set_id) else {
        return Decision::default();
    };
    let now = unix_seconds();
    open.settle_htlcs(&claims, now);
    let set = SetRecord {
        settle_index: Some(state.next_settle_index()),
        settled_at: Some(now),
        ..open.row(HtlcState::Settled)
    };
    let mut record = open.invoice;
    let rows: Vec<HtlcRecord> = open.htlcs.into_values().map(|held| held.row).collect();
    let mut decision = Decision::default().and_row(PutSet(set.clone()));
    for row in &rows {
        decision = decision.and_row(PutHtlc(row.clone()));
    }
    if record.kind == InvoiceKind::SpontaneousAmp && record.expires_at.is_some() {
        // The first payment.
        record.expires_at = None;
        let add_index = record.add_index;
        decision = decision
            .and_row(NeverExpires { add_index })
            .and_remembered(record.clone());
    }
    report_settled(set_id, &set, rows.len());
    let view = InvoiceView {
        record,
        htlcs: rows,
        sets: vec![set.clone()],
    };
    decision
        .and_settled_set(set_id, set, claims)
        .and_event(InvoiceEvent::Settled(view))
}

fn report_settled(set_id: SetId, set: &SetRecord, shards: usize) {
    metrics::counter!("ampd_amp_sets_settled_total").increment(1);
    metrics::counter!("ampd_htlcs_settled_total").increment(shards as u64);
    tracing::info!(
        target: SETTLED,
        %set_id,
        shards,
        amount_msat = set.amt_paid_msat,
        "AMP set settled"
    );
}

/// Fails the new shard, which has no row, and the others too if the whole set is invalid.
fn fail(
    state: &mut State,
    reason: Refusal,
    htlcs: &[HtlcRef],
    hash: &PaymentHash,
    envelope: Envelope,
) -> Decision {
    let new = envelope.key();
    let keys = htlcs.iter().map(|htlc| htlc.key);
    let others: Vec<HtlcKey> = keys.filter(|key| *key != new).collect();
    fail_back(state, &[(envelope.amp.set_id, others)], reason)
        .and_answer(reason.answer(hash, envelope))
}
