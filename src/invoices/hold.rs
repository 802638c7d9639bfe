//! Hold invoices: paid to a hash whose preimage the client reveals or withholds later.
//!
//! *Open* -> *accepted* when LDK has the complete payment -> *settled* with the preimage, or
//! *canceled* by the client or at the deadline. [`State::accepted`] contains exactly the accepted
//! invoices.
//!
//! The deadline is 39 blocks before the first HTLC expires: LDK fails a payment back at this height
//! to avoid a force-close (lnd's `invoices.holdexpirydelta` is 18 blocks). To decide later, set a
//! larger `cltv_expiry` in the invoice. The expiry of the invoice itself no longer matters once it
//! is accepted.

use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::accepted::Accepted;
use super::decision::{Answer, Decision};
use super::event::InvoiceEvent;
use super::fail_back::DEADLINE_MARGIN;
use super::hash_payments::{self, Payment, Refusal, settle_once};
use super::registry::Registry;
use super::state::State;
use super::{InvoiceError, InvoiceView};
use crate::clock::unix_seconds;
use crate::model::htlc::HtlcRecord;
use crate::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceState};
use crate::storage::StorageError;
use ldk_amp::HtlcKey;

impl Registry {
    /// Accepts a payment to a hold invoice, or recognizes one that is already accepted.
    pub(super) fn pay_hold(
        &self,
        state: &mut State,
        mut invoice: InvoiceRecord,
        payment: &Payment,
    ) -> Result<Decision, Refusal> {
        match state.accepted.get(&invoice.payment_hash) {
            Some(held) if held.is(&payment.htlcs) => return Ok(Decision::default()),
            // LDK has one payment per hash, so if this is another one, ours is gone.
            Some(_) => {
                let refused = Refusal::InvoiceNotOpen.answer(&payment.claimable.payment_hash);
                return Ok(cancel_hold(state, invoice).and_answer(refused));
            }
            None => {}
        }
        if let Some(preimage) = invoice.preimage
            && self.was_settled_by(&invoice, payment)?
        {
            return Ok(Decision::answer(Answer::Claim(preimage)));
        }
        self.check_payable(&invoice, payment)?;
        if payment.htlcs.is_empty() {
            // Without rows, nothing would restore it after a restart.
            return Err(Refusal::ChannelClosed);
        }
        invoice.state = InvoiceState::Accepted;
        invoice.amt_paid_msat = payment.claimable.amount_msat;
        let htlcs = self.held_rows(invoice.add_index, payment);
        let hash = payment.claimable.payment_hash;
        tracing::info!(%hash, amount_msat = invoice.amt_paid_msat, "hold invoice accepted");
        let stored = hash_payments::store(&invoice, &htlcs).urgently();
        let view = InvoiceView::with_htlcs(invoice.clone(), htlcs.clone());
        state.accepted.insert(hash, Accepted { invoice, htlcs });
        Ok(stored.and_event(InvoiceEvent::Accepted(view)))
    }

    /// Settles the accepted hold invoice with this preimage. The settlement is on disk when this
    /// returns.
    ///
    /// # Errors
    ///
    /// [`InvoiceError::NotFound`], [`InvoiceError::StillOpen`], [`InvoiceError::AlreadySettled`],
    /// [`InvoiceError::AlreadyCanceled`]; [`InvoiceError::ClaimDeadline`] if LDK is about to fail
    /// the payment back: it can no longer be claimed, even if the preimage has been revealed.
    pub async fn settle_hold(&self, preimage: PaymentPreimage) -> Result<(), InvoiceError> {
        let answer = self.settle_held(preimage);
        if matches!(answer, Ok(()) | Err(InvoiceError::AlreadySettled)) {
            // The client sees both as success (lnd's RPC answers both alike). An empty change: its
            // ticket is durable once the settlement is.
            let ticket = self.store.submit(Vec::new());
            self.store.durable(ticket).await;
        }
        answer
    }

    fn settle_held(&self, preimage: PaymentPreimage) -> Result<(), InvoiceError> {
        let hash = PaymentHash::from(preimage);
        let mut state = self.state();
        let Some(held) = state.accepted.remove(&hash) else {
            return Err(self.why_not_held(&state, &hash));
        };
        let deadline = held.deadline();
        if self.is_too_late(deadline) {
            state.accepted.insert(hash, held);
            let height = self.inbound.height();
            return Err(InvoiceError::ClaimDeadline { deadline, height });
        }
        let Accepted { invoice, htlcs } = held;
        let settled = settle_once(&mut state, invoice, preimage, htlcs);
        self.carry_out(&mut state, settled);
        Ok(())
    }

    fn why_not_held(&self, state: &State, hash: &PaymentHash) -> InvoiceError {
        let state = match self.find_by_hash(state, hash) {
            Ok(invoice) => invoice.map(|invoice| invoice.state),
            Err(error) => return error.into(),
        };
        match state {
            None => InvoiceError::NotFound,
            Some(InvoiceState::Settled) => InvoiceError::AlreadySettled,
            Some(InvoiceState::Canceled) => InvoiceError::AlreadyCanceled,
            Some(InvoiceState::Open | InvoiceState::Accepted | InvoiceState::Disabled) => {
                InvoiceError::StillOpen
            }
        }
    }

    /// Handles an HTLC with this hash that LDK has failed. If it belongs to an accepted hold
    /// invoice, all its HTLCs are failed: a part cannot be claimed. Far from the claim deadline it
    /// does not; see [`Registry::htlc_gone`].
    pub(super) fn hold_gone(&self, state: &mut State, hash: &PaymentHash) -> Decision {
        let near = self.inbound.height().saturating_add(DEADLINE_MARGIN);
        match state.accepted.get(hash) {
            Some(held) if held.deadline() <= near => {
                let invoice = held.invoice.clone();
                cancel_hold(state, invoice)
            }
            _ => Decision::default(),
        }
    }

    /// Restores the accepted payment of these rows after a restart, or cancels its invoice if LDK
    /// no longer holds all of it. HTLCs whose invoice is not accepted are failed.
    pub(super) fn hold_payment_again(
        &self,
        add_index: u64,
        htlcs: Vec<HtlcRecord>,
        has: impl Fn(&HtlcKey) -> bool,
    ) -> Result<(), StorageError> {
        let invoice = self.store.invoice(add_index)?.filter(|invoice| {
            invoice.kind == InvoiceKind::Hold && invoice.state == InvoiceState::Accepted
        });
        let Some(invoice) = invoice else {
            let what = format!("invoice {add_index} is not an accepted hold invoice");
            htlcs
                .into_iter()
                .for_each(|row| self.give_up_damaged(row, &what));
            return Ok(());
        };
        let mut state = self.state();
        let held = Accepted {
            invoice: invoice.clone(),
            htlcs,
        };
        let in_time = self.inbound.height() < held.deadline();
        let is_held = |row: &HtlcRecord| has(&row.key()) || self.is_closed(row);
        let is_whole = in_time && held.htlcs.iter().all(is_held);
        state.accepted.insert(invoice.payment_hash, held);
        if !is_whole {
            let canceled = cancel_hold(&mut state, invoice);
            self.carry_out(&mut state, canceled);
        }
        Ok(())
    }
}

/// Cancels an open or accepted hold invoice and fails its HTLCs back. LDK may also be collecting
/// the parts of a payment to it.
pub(super) fn cancel_hold(state: &mut State, mut invoice: InvoiceRecord) -> Decision {
    let hash = invoice.payment_hash;
    let held = state.accepted.remove(&hash);
    let mut htlcs = held.map_or_else(Vec::new, |held| held.htlcs);
    invoice.state = InvoiceState::Canceled;
    invoice.amt_paid_msat = 0;
    for row in &mut htlcs {
        row.cancel(unix_seconds());
    }
    tracing::info!(%hash, "hold invoice canceled");
    hash_payments::store(&invoice, &htlcs)
        .urgently()
        .and_answer(Answer::Fail(hash))
        .and_event(InvoiceEvent::Canceled(InvoiceView::with_htlcs(
            invoice, htlcs,
        )))
}

#[cfg(test)]
mod tests;
