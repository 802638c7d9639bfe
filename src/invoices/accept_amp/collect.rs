//! Adding a shard to its set, and carrying out the set's decision: hold, settle or fail.

use lightning_types::payment::PaymentHash;

use super::rules::Shard;
use crate::invoices::ledger::Ledger;
use crate::invoices::registry::{Registry, now, unpaid};
use crate::invoices::subscribe::InvoiceEvent;
use crate::invoices::{InvoiceView, SETTLED};
use crate::storage::invoices::{
    HtlcRecord, HtlcState, InvoiceKind, InvoiceRecord, NeverExpires, PutHtlc, PutInvoice, PutSet,
    SetRecord,
};
use crate::storage::{Change, Ticket};
use crash_points::Point;
use ldk_amp::Envelope;
use ldk_amp::{Claim, FailReason, HtlcKey, HtlcRef, Outcome, SetId};

impl Registry {
    /// Adds the shard to its set and carries out the set's decision.
    pub(super) fn collect(&self, ledger: &mut Ledger, mut shard: Shard) {
        if shard.is_new_invoice {
            shard.invoice.add_index = ledger.next_add_index();
        }
        shard.held.row.add_index = shard.invoice.add_index;
        let envelope = shard.held.envelope.clone();
        let hash = PaymentHash(shard.held.row.payment_hash);
        let outcome = ledger.open.accept(
            &shard.invoice,
            shard.held,
            self.limits.set,
            self.port.height(),
        );
        if !matches!(outcome, Outcome::Fail { .. }) {
            metrics::counter!("ampd_htlcs_accepted_total").increment(1);
        }
        let set_id = envelope.amp.set_id;
        let new_invoice = shard.is_new_invoice.then_some(shard.invoice);
        match outcome {
            Outcome::Hold => self.hold(ledger, set_id, &envelope.key(), new_invoice),
            Outcome::Settle(claims) => self.settle(ledger, set_id, &claims, new_invoice),
            Outcome::Fail { reason, htlcs } => {
                self.fail(ledger, reason, &htlcs, (&hash, &envelope));
            }
        }
    }

    fn hold(
        &self,
        ledger: &mut Ledger,
        set_id: SetId,
        key: &HtlcKey,
        new_invoice: Option<InvoiceRecord>,
    ) {
        let Some(open) = ledger.open.get(&set_id) else {
            return;
        };
        let mut changes = invoice_change(new_invoice.as_ref());
        changes.push(Box::new(PutSet(open.row(HtlcState::Accepted))));
        let mut due = u64::MAX;
        if let Some(held) = open.htlcs.get(key) {
            changes.push(Box::new(PutHtlc(held.row.clone())));
            due = held
                .row
                .accepted_at
                .saturating_add(self.limits.set.hold_seconds);
        }
        let ticket = self.store.submit_patiently(changes);
        crash_points::when_stored(Point::Stored, || self.store.flush());
        self.remember_new(ledger, new_invoice, ticket);
        if due < ledger.timer_at {
            ledger.timer_at = due;
            self.timer.notify_one();
        }
    }

    /// Queues the rows first, then claims: see the module docs of `invoices`.
    fn settle(
        &self,
        ledger: &mut Ledger,
        set_id: SetId,
        claims: &[Claim],
        new_invoice: Option<InvoiceRecord>,
    ) {
        let Some(mut open) = ledger.open.take(&set_id) else {
            return;
        };
        let now = now();
        for claim in claims {
            if let Some(held) = open.htlcs.get_mut(&claim.key) {
                held.row.state = HtlcState::Settled;
                held.row.resolved_at = Some(now);
                held.row.preimage = Some(claim.preimage.0);
            }
        }
        let set = SetRecord {
            settle_index: Some(ledger.next_settle_index()),
            settled_at: Some(now),
            ..open.row(HtlcState::Settled)
        };
        let mut record = open.invoice;
        let rows: Vec<HtlcRecord> = open.htlcs.into_values().map(|held| held.row).collect();
        let mut changes = invoice_change(new_invoice.as_ref());
        changes.push(Box::new(PutSet(set.clone())));
        for row in &rows {
            changes.push(Box::new(PutHtlc(row.clone())));
        }
        let is_first_spontaneous =
            record.kind == InvoiceKind::SpontaneousAmp && record.expires_at.is_some();
        if is_first_spontaneous {
            record.expires_at = None;
            changes.push(Box::new(NeverExpires {
                add_index: record.add_index,
            }));
        }
        // These changes are written before the first claim's monitor update.
        let ticket = self.store.submit_patiently(changes);
        crash_points::at(Point::Decided);
        crash_points::when_stored(Point::DecisionStored, || self.store.flush());
        for claim in claims {
            self.port.claim(claim.preimage);
            crash_points::when_stored(Point::BetweenClaims, || self.store.flush());
        }
        metrics::counter!("ampd_amp_sets_settled_total").increment(1);
        metrics::counter!("ampd_htlcs_settled_total").increment(rows.len() as u64);
        tracing::info!(
            target: SETTLED,
            %set_id,
            shards = rows.len(),
            amount_msat = set.amt_paid_msat,
            "AMP set settled"
        );
        ledger.sets.insert(&self.store, set_id, set.clone(), ticket);
        let preimages = claims.iter().map(|claim| (claim.key, claim.preimage));
        ledger.settled.extend(&self.store, preimages, ticket);
        self.remember_new(ledger, new_invoice, ticket);
        if is_first_spontaneous {
            ledger.remember(&self.store, record.clone(), ticket);
        }
        let view = InvoiceView {
            record,
            htlcs: rows,
            sets: vec![set],
        };
        self.announce(ticket, InvoiceEvent::Settled(view));
    }

    fn remember_new(&self, ledger: &mut Ledger, new: Option<InvoiceRecord>, ticket: Ticket) {
        if let Some(invoice) = new {
            let added = InvoiceEvent::Added(unpaid(invoice.clone()));
            self.announce(ticket, added);
            ledger.remember(&self.store, invoice, ticket);
        }
    }

    /// Fails the new shard, which has no row, and the others too if the whole set is invalid.
    fn fail(
        &self,
        ledger: &mut Ledger,
        reason: FailReason,
        htlcs: &[HtlcRef],
        (hash, envelope): (&PaymentHash, &Envelope),
    ) {
        let new = envelope.key();
        let others: Vec<HtlcKey> = htlcs
            .iter()
            .map(|htlc| htlc.key)
            .filter(|key| *key != new)
            .collect();
        self.fail_back(ledger, &[(envelope.amp.set_id, others)], reason.into());
        self.refuse(reason.into(), hash, envelope);
    }
}

fn invoice_change(new: Option<&InvoiceRecord>) -> Vec<Box<dyn Change>> {
    new.map(|invoice| Box::new(PutInvoice(invoice.clone())) as Box<dyn Change>)
        .into_iter()
        .collect()
}
