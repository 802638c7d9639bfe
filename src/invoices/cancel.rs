//! Canceling, disabling, enabling and deleting invoices.
//!
//! Everything happens under the registry's lock: the rows are queued, held shards are failed back,
//! and later lookups in memory see the new state at once.

use lightning_types::payment::PaymentHash;

use super::amp_refusal::Refusal;
use super::decision::{Answer, Decision};
use super::event::InvoiceEvent;
use super::fail_back::release;
use super::hold::cancel_hold;
use super::registry::Registry;
use super::state::State;
use super::{InvoiceError, InvoiceView};
use crate::model::htlc::HtlcRecord;
use crate::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceRef, InvoiceState};
use crate::storage::invoices::{DeleteInvoice, PutInvoiceState};
use crate::storage::{StorageError, Ticket};

impl Registry {
    /// Cancels an invoice: it accepts no more payments, and held HTLCs are failed back. A static
    /// invoice can be canceled after it was paid (not possible in lnd: its issue 9463). Canceling
    /// again has no effect, as in lnd. The change is on disk when this returns.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`]; [`InvoiceError::AlreadySettled`]; or if the database cannot be
    /// read.
    pub async fn cancel(&self, by: &InvoiceRef) -> Result<(), InvoiceError> {
        let ticket = self.cancel_now(by)?;
        self.store.durable(ticket).await;
        Ok(())
    }

    fn cancel_now(&self, by: &InvoiceRef) -> Result<Ticket, InvoiceError> {
        let mut state = self.state();
        let invoice = self.find(&state, by)?.ok_or(InvoiceError::NotFound)?;
        match invoice.state {
            // An empty change: its ticket is durable once the earlier cancellation is.
            InvoiceState::Canceled => Ok(self.store.submit(Vec::new())),
            InvoiceState::Settled => Err(InvoiceError::AlreadySettled),
            InvoiceState::Open | InvoiceState::Accepted | InvoiceState::Disabled => {
                let canceled = cancel_invoice(&mut state, invoice);
                Ok(self.carry_out(&mut state, canceled))
            }
        }
    }

    /// Enables or disables a static invoice. A disabled invoice accepts no payments, and HTLCs held
    /// for it are failed back. The change is on disk when this returns.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`]; [`InvoiceError::NotStatic`] for other kinds of invoices;
    /// [`InvoiceError::AlreadyCanceled`]; or if the database cannot be read.
    pub async fn set_enabled(&self, by: &InvoiceRef, enabled: bool) -> Result<(), InvoiceError> {
        let ticket = self.set_enabled_now(by, enabled)?;
        self.store.durable(ticket).await;
        Ok(())
    }

    fn set_enabled_now(&self, by: &InvoiceRef, enabled: bool) -> Result<Ticket, InvoiceError> {
        let mut state = self.state();
        let invoice = self.find(&state, by)?.ok_or(InvoiceError::NotFound)?;
        if invoice.kind != InvoiceKind::Amp {
            return Err(InvoiceError::NotStatic);
        }
        let wanted = match enabled {
            true => InvoiceState::Open,
            false => InvoiceState::Disabled,
        };
        match invoice.state {
            InvoiceState::Canceled => Err(InvoiceError::AlreadyCanceled),
            state if state == wanted => Ok(self.store.submit(Vec::new())),
            _ => {
                let hash = invoice.payment_hash;
                tracing::info!(%hash, enabled, "static invoice enabled or disabled");
                let (changed, _) = put_state(&mut state, invoice, wanted);
                Ok(self.carry_out(&mut state, changed))
            }
        }
    }

    /// Deletes a canceled invoice that was never paid, with its HTLCs. Its hash can be used again.
    /// It is deleted from disk when this returns; only the keys of HTLCs that were failed back are
    /// kept until LDK has certainly persisted their failure.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`]; [`InvoiceError::NotCanceled`]; [`InvoiceError::WasPaid`],
    /// because received payments are kept; or if the database cannot be read.
    pub async fn delete_canceled(&self, hash: &PaymentHash) -> Result<(), InvoiceError> {
        let ticket = self.delete_canceled_now(hash)?;
        self.store.durable(ticket).await;
        Ok(())
    }

    fn delete_canceled_now(&self, hash: &PaymentHash) -> Result<Ticket, InvoiceError> {
        let mut state = self.state();
        let invoice = self.find_by_hash(&state, hash)?;
        let invoice = invoice.ok_or(InvoiceError::NotFound)?;
        if invoice.state != InvoiceState::Canceled {
            return Err(InvoiceError::NotCanceled);
        }
        if self.was_paid(&state, invoice.add_index)? {
            return Err(InvoiceError::WasPaid);
        }
        Ok(self.carry_out(&mut state, delete_invoice(invoice)))
    }

    /// The invoice record in memory may be outdated, so look for settled sets.
    fn was_paid(&self, state: &State, add_index: u64) -> Result<bool, StorageError> {
        let mut recent = state.sets.values();
        let paid = recent.any(|set| set.add_index == add_index && set.settle_index.is_some());
        Ok(paid || self.store.has_settled_set(add_index)?)
    }
}

/// Cancels an invoice that is not settled.
pub(super) fn cancel_invoice(state: &mut State, invoice: InvoiceRecord) -> Decision {
    if invoice.kind == InvoiceKind::Hold {
        return cancel_hold(state, invoice);
    }
    let hash = invoice.payment_hash;
    tracing::info!(%hash, "invoice canceled");
    let is_amp = invoice.kind.is_amp();
    let (decision, view) = put_state(state, invoice, InvoiceState::Canceled);
    let decision = decision.and_event(InvoiceEvent::Canceled(view));
    match is_amp {
        true => decision,
        // LDK may have collected some parts of a payment to it.
        false => decision.and_answer(Answer::Fail(hash)),
    }
}

/// Puts an invoice into a state in which it accepts no payments, or accepts them again.
fn put_state(
    state: &mut State,
    mut invoice: InvoiceRecord,
    new: InvoiceState,
) -> (Decision, InvoiceView) {
    invoice.state = new;
    let add_index = invoice.add_index;
    let (failed, htlcs) = fail_back_all(state, add_index);
    let change = PutInvoiceState {
        add_index,
        state: new,
    };
    let decision = failed.and_row(change).and_remembered(invoice.clone());
    (decision, InvoiceView::with_htlcs(invoice, htlcs))
}

/// Fails back the HTLCs held for an invoice. Returns their rows as well.
pub(super) fn fail_back_all(state: &mut State, add_index: u64) -> (Decision, Vec<HtlcRecord>) {
    let keys = state.open.keys_of(add_index);
    release(state, &keys, Refusal::Canceled)
}

/// Deletes the invoice of a spontaneous payment that was never completed, and for which no HTLC is
/// held.
pub(super) fn delete_unpaid(invoice: InvoiceRecord) -> Decision {
    let canceled = InvoiceView::alone(InvoiceRecord {
        state: InvoiceState::Canceled,
        ..invoice.clone()
    });
    delete_invoice(invoice).and_event(InvoiceEvent::Canceled(canceled))
}

/// Deletes an invoice for which no HTLC is held.
fn delete_invoice(invoice: InvoiceRecord) -> Decision {
    let add_index = invoice.add_index;
    Decision::default()
        .urgently()
        .and_row(DeleteInvoice { add_index })
        .and_deleted(invoice)
}

#[cfg(test)]
mod tests;
