//! Canceling, disabling, enabling and deleting invoices.
//!
//! Everything happens under the registry's lock: the rows are queued, held shards are failed back,
//! and later lookups in memory see the new state at once.

use lightning_types::payment::PaymentHash;

use super::accept_amp::Refusal;
use super::give_back::release;
use super::ledger::Ledger;
use super::registry::Registry;
use super::subscribe::InvoiceEvent;
use super::{InvoiceError, InvoiceRef, InvoiceView};
use crate::storage::invoices::{
    DeleteInvoice, HtlcRecord, InvoiceKind, InvoiceRecord, InvoiceState, PutInvoiceState,
};
use crate::storage::{Change, StorageError, Ticket};

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
        let mut ledger = self.ledger();
        let invoice = self.find(&ledger, by)?.ok_or(InvoiceError::NotFound)?;
        match invoice.state {
            // An empty change: its ticket is durable once the earlier cancellation is.
            InvoiceState::Canceled => Ok(self.store.submit(Vec::new())),
            InvoiceState::Settled => Err(InvoiceError::AlreadySettled),
            InvoiceState::Open | InvoiceState::Accepted | InvoiceState::Disabled => {
                Ok(self.cancel_invoice(&mut ledger, invoice))
            }
        }
    }

    /// Cancels an invoice that is not settled.
    pub(super) fn cancel_invoice(&self, ledger: &mut Ledger, invoice: InvoiceRecord) -> Ticket {
        if invoice.kind == InvoiceKind::Hold {
            return self.cancel_hold(ledger, invoice);
        }
        tracing::info!(hash = %PaymentHash(invoice.payment_hash), "invoice canceled");
        let is_amp = invoice.kind.is_amp();
        let hash = PaymentHash(invoice.payment_hash);
        let (ticket, view) = self.put_state(ledger, invoice, InvoiceState::Canceled);
        if !is_amp {
            // LDK may have collected some parts of a payment to it.
            self.port.fail(&hash);
        }
        self.announce(ticket, InvoiceEvent::Canceled(view));
        ticket
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
        let mut ledger = self.ledger();
        let invoice = self.find(&ledger, by)?.ok_or(InvoiceError::NotFound)?;
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
                let hash = PaymentHash(invoice.payment_hash);
                tracing::info!(%hash, enabled, "static invoice enabled or disabled");
                let (ticket, _) = self.put_state(&mut ledger, invoice, wanted);
                Ok(ticket)
            }
        }
    }

    fn put_state(
        &self,
        ledger: &mut Ledger,
        mut invoice: InvoiceRecord,
        state: InvoiceState,
    ) -> (Ticket, InvoiceView) {
        invoice.state = state;
        let add_index = invoice.add_index;
        let change = PutInvoiceState { add_index, state };
        let (ticket, htlcs) = self.fail_back_all(ledger, add_index, vec![Box::new(change)]);
        ledger.remember(&self.store, invoice.clone(), ticket);
        let view = InvoiceView {
            record: invoice,
            htlcs,
            sets: Vec::new(),
        };
        (ticket, view)
    }

    /// Fails back the HTLCs held for an invoice, in one transaction with the given changes.
    pub(super) fn fail_back_all(
        &self,
        ledger: &mut Ledger,
        add_index: u64,
        decided: Vec<Box<dyn Change>>,
    ) -> (Ticket, Vec<HtlcRecord>) {
        let keys = ledger.open.keys_of(add_index);
        let (held, mut changes) = release(ledger, &keys);
        changes.extend(decided);
        let ticket = self.store.submit(changes);
        self.fail_held(&held, Refusal::Canceled);
        (ticket, held.into_iter().map(|held| held.row).collect())
    }

    /// Deletes a canceled invoice that was never paid, with its HTLCs. Its hash can be used again.
    /// It is deleted from disk when this returns; only the keys of HTLCs that were failed back are
    /// kept until LDK has certainly persisted their failure.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`]; [`InvoiceError::NotCanceled`]; [`InvoiceError::WasPaid`],
    /// because received payments are kept; or if the database cannot be read.
    pub async fn delete_canceled(&self, hash: &[u8; 32]) -> Result<(), InvoiceError> {
        let ticket = self.delete_canceled_now(hash)?;
        self.store.durable(ticket).await;
        Ok(())
    }

    fn delete_canceled_now(&self, hash: &[u8; 32]) -> Result<Ticket, InvoiceError> {
        let mut ledger = self.ledger();
        let invoice = self.find_by_hash(&ledger, hash)?;
        let invoice = invoice.ok_or(InvoiceError::NotFound)?;
        if invoice.state != InvoiceState::Canceled {
            return Err(InvoiceError::NotCanceled);
        }
        if self.was_paid(&ledger, invoice.add_index)? {
            return Err(InvoiceError::WasPaid);
        }
        Ok(self.delete_invoice(&mut ledger, &invoice))
    }

    /// The invoice record in memory may be outdated, so look for settled sets.
    fn was_paid(&self, ledger: &Ledger, add_index: u64) -> Result<bool, StorageError> {
        let mut recent = ledger.sets.values();
        let paid = recent.any(|set| set.add_index == add_index && set.settle_index.is_some());
        Ok(paid || self.store.has_settled_set(add_index)?)
    }

    /// Deletes an invoice for which no HTLC is held.
    pub(super) fn delete_invoice(&self, ledger: &mut Ledger, invoice: &InvoiceRecord) -> Ticket {
        let ticket = self.store.submit(DeleteInvoice {
            add_index: invoice.add_index,
        });
        ledger.forget(&self.store, invoice, ticket);
        ticket
    }
}

#[cfg(test)]
mod tests;
