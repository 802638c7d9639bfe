//! Decisions about HTLCs and invoices, as data, and the one place that carries them out.
//!
//! A decision is made and carried out under the registry's lock, so that the next one sees it. It
//! is carried out in this order, which must not change:
//!
//! 1. its rows are queued for the database;
//! 2. LDK is told to claim or fail HTLCs. The monitor update of a claim is queued after the rows,
//!    so LDK never claims an HTLC that the database does not show as settled;
//! 3. the state remembers what queries cannot see before the commit;
//! 4. subscribers are notified once the rows are on disk.

use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::event::InvoiceEvent;
use super::registry::Registry;
use super::state::State;
use crate::model::htlc::SetRecord;
use crate::model::invoice::InvoiceRecord;
use crate::storage::invoices::PutInvoice;
use crate::storage::{Change, Ticket};
use crash_points::Point;
use ldk_amp::{Claim, Envelope, SetId};

/// An instruction to LDK about incoming HTLCs. Has no `Debug`, because it holds preimages.
pub(super) enum Answer {
    /// Claim the payment with this preimage.
    Claim(PaymentPreimage),
    /// Fail all HTLCs with this hash with `incorrect_or_unknown_payment_details`.
    Fail(PaymentHash),
    /// Fail this AMP shard with `mpp_timeout`.
    FailTimedOut(PaymentHash, Box<Envelope>),
}

/// The changes and instructions that follow from an event of an HTLC or an invoice. The default
/// changes nothing.
#[must_use]
#[derive(Default)]
pub(super) struct Decision {
    rows: Vec<Box<dyn Change>>,
    /// A client or an HTLC waits for the rows; otherwise they may wait for the commit of a monitor
    /// update.
    is_urgent: bool,
    answers: Vec<Answer>,
    deleted: Vec<InvoiceRecord>,
    invoices: Vec<InvoiceRecord>,
    settled_sets: Vec<(SetId, SetRecord, Vec<Claim>)>,
    events: Vec<InvoiceEvent>,
    /// A crash point that is passed once the rows are on disk.
    stored: Option<Point>,
}

impl Decision {
    /// A decision that only instructs LDK.
    pub(super) fn answer(answer: Answer) -> Self {
        Self::default().and_answer(answer)
    }

    pub(super) fn and_answer(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    /// Writes a row.
    pub(super) fn and_row(mut self, row: impl Change + 'static) -> Self {
        self.rows.push(Box::new(row));
        self
    }

    /// Writes a new invoice.
    pub(super) fn and_new_invoice(self, invoice: InvoiceRecord) -> Self {
        let event = InvoiceEvent::added(invoice.clone());
        self.and_row(PutInvoice(invoice.clone()))
            .and_remembered(invoice)
            .and_event(event)
    }

    /// Remembers an invoice whose row is among the changed ones.
    pub(super) fn and_remembered(mut self, invoice: InvoiceRecord) -> Self {
        self.invoices.push(invoice);
        self
    }

    /// Remembers the deletion of an invoice.
    pub(super) fn and_deleted(mut self, invoice: InvoiceRecord) -> Self {
        self.deleted.push(invoice);
        self
    }

    /// Claims the HTLCs of a set, and remembers that it is settled.
    pub(super) fn and_settled_set(mut self, id: SetId, set: SetRecord, claims: Vec<Claim>) -> Self {
        let preimages = claims.iter().map(|claim| claim.preimage);
        self.answers.extend(preimages.map(Answer::Claim));
        self.settled_sets.push((id, set, claims));
        self
    }

    /// Notifies subscribers.
    pub(super) fn and_event(mut self, event: InvoiceEvent) -> Self {
        self.events.push(event);
        self
    }

    /// Commits the rows as soon as possible.
    pub(super) fn urgently(mut self) -> Self {
        self.is_urgent = true;
        self
    }

    /// Passes this crash point once the rows are on disk.
    pub(super) fn passing(mut self, point: Point) -> Self {
        self.stored = Some(point);
        self
    }

    /// Combines two decisions; `other` comes second.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.rows.extend(other.rows);
        self.is_urgent |= other.is_urgent;
        self.answers.extend(other.answers);
        self.deleted.extend(other.deleted);
        self.invoices.extend(other.invoices);
        self.settled_sets.extend(other.settled_sets);
        self.events.extend(other.events);
        self.stored = self.stored.or(other.stored);
        self
    }
}

impl Registry {
    /// Carries out a decision that was made under the same lock. Returns the ticket of its rows; if
    /// it has none, that of nothing, which is always on disk.
    pub(super) fn carry_out(&self, state: &mut State, decision: Decision) -> Ticket {
        let ticket = match (decision.rows, decision.is_urgent) {
            (rows, _) if rows.is_empty() => Ticket::NOTHING,
            (rows, true) => self.store.submit(rows),
            (rows, false) => self.store.submit_deferred(rows),
        };
        if let Some(point) = decision.stored {
            crash_points::when_stored(point, || self.store.flush());
        }
        self.tell_ldk(decision.answers, ticket);
        for invoice in &decision.deleted {
            state.forget(&self.store, invoice, ticket);
        }
        for invoice in decision.invoices {
            state.remember(&self.store, invoice, ticket);
        }
        for (set_id, set, claims) in decision.settled_sets {
            state.remember_settled(&self.store, set_id, set, &claims, ticket);
        }
        for event in decision.events {
            if let InvoiceEvent::Added(view) = &event {
                let kind = format!("{:?}", view.record.kind);
                metrics::counter!("ampd_invoices_added_total", "kind" => kind).increment(1);
            }
            self.announcer.announce(ticket, event);
        }
        ticket
    }

    /// Carries out a decision that does not depend on the state.
    pub(super) fn carry_out_alone(&self, decision: Decision) {
        self.carry_out(&mut self.state(), decision);
    }

    fn tell_ldk(&self, answers: Vec<Answer>, ticket: Ticket) {
        let settles = ticket != Ticket::NOTHING
            && answers
                .iter()
                .any(|answer| matches!(answer, Answer::Claim(_)));
        if settles {
            crash_points::at(Point::Decided);
            crash_points::when_stored(Point::DecisionStored, || self.store.flush());
        }
        for answer in answers {
            match answer {
                Answer::Claim(preimage) => {
                    self.inbound.claim(preimage);
                    if settles {
                        crash_points::when_stored(Point::BetweenClaims, || self.store.flush());
                    }
                }
                Answer::Fail(hash) => self.inbound.fail(&hash),
                Answer::FailTimedOut(hash, envelope) => {
                    self.inbound.fail_timed_out(&hash, &envelope);
                }
            }
        }
    }
}
