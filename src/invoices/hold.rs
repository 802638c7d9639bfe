//! Hold invoices: paid to a hash whose preimage the client reveals or withholds later.
//!
//! *Open* -> *accepted* when LDK has the complete payment -> *settled* with the preimage, or
//! *canceled* by the client or at the deadline. [`Ledger::accepted`] contains exactly the accepted
//! invoices.
//!
//! The deadline is 39 blocks before the first HTLC expires: LDK fails a payment back at this height
//! to avoid a force-close (lnd's `invoices.holdexpirydelta` is 18 blocks). To decide later, set a
//! larger `cltv_expiry` in the invoice. The expiry of the invoice itself no longer matters once it
//! is accepted.

use bitcoin::hashes::{Hash, sha256};
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::InvoiceError;
use super::give_back::DEADLINE_MARGIN;
use super::ledger::Ledger;
use super::once::{self, Payment, Refusal};
use super::registry::{Registry, now};
use super::restore::key;
use super::subscribe::InvoiceEvent;
use crate::storage::invoices::{HtlcRecord, InvoiceKind, InvoiceRecord, InvoiceState};
use crate::storage::{StorageError, Ticket};
use ldk_amp::HtlcKey;

/// An accepted hold invoice with the rows of its HTLCs.
pub(super) struct Accepted {
    invoice: InvoiceRecord,
    htlcs: Vec<HtlcRecord>,
}

impl Accepted {
    /// The height at which LDK fails back the first of its HTLCs.
    fn deadline(&self) -> u32 {
        let deadlines = self.htlcs.iter().map(once::claim_deadline);
        deadlines.min().unwrap_or(u32::MAX)
    }

    /// Returns whether LDK reports this payment again. `payment.htlcs` is empty if the channels
    /// were closed.
    fn is(&self, payment: &Payment) -> bool {
        let keys: Vec<HtlcKey> = self.htlcs.iter().map(key).collect();
        payment.htlcs.iter().all(|htlc| keys.contains(&htlc.key))
    }
}

impl Registry {
    /// Accepts a payment to a hold invoice, or recognizes one that is already accepted.
    pub(super) fn pay_hold(
        &self,
        ledger: &mut Ledger,
        mut invoice: InvoiceRecord,
        payment: &Payment,
    ) -> Result<(), Refusal> {
        match ledger.accepted.get(&invoice.payment_hash) {
            Some(held) if held.is(payment) => return Ok(()),
            // LDK has one payment per hash, so if this is another one, ours is gone.
            Some(_) => {
                self.cancel_hold(ledger, invoice);
                return Err(Refusal::InvoiceNotOpen);
            }
            None => {}
        }
        if let Some(preimage) = invoice.preimage
            && self.was_settled_by(&invoice, payment)?
        {
            self.port.claim(PaymentPreimage(preimage));
            return Ok(());
        }
        self.check_payable(&invoice, payment)?;
        if payment.htlcs.is_empty() {
            // Without rows, nothing would restore it after a restart.
            return Err(Refusal::ChannelClosed);
        }
        invoice.state = InvoiceState::Accepted;
        invoice.amt_paid_msat = payment.claimable.amount_msat;
        let htlcs = self.held_rows(invoice.add_index, payment);
        let ticket = self.store.submit(once::changes(&invoice, &htlcs));
        let hash = payment.claimable.payment_hash;
        tracing::info!(%hash, amount_msat = invoice.amt_paid_msat, "hold invoice accepted");
        ledger.remember(&self.store, invoice.clone(), ticket);
        let view = once::view(invoice.clone(), htlcs.clone());
        ledger.accepted.insert(hash.0, Accepted { invoice, htlcs });
        self.announce(ticket, InvoiceEvent::Accepted(view));
        Ok(())
    }

    /// Settles the accepted hold invoice with this preimage. The settlement is on disk when this
    /// returns.
    ///
    /// # Errors
    ///
    /// [`InvoiceError::NotFound`], [`InvoiceError::StillOpen`], [`InvoiceError::AlreadySettled`],
    /// [`InvoiceError::AlreadyCanceled`]; [`InvoiceError::ClaimDeadline`] if LDK is about to fail
    /// the payment back: it can no longer be claimed, even if the preimage has been revealed.
    pub async fn settle_hold(&self, preimage: [u8; 32]) -> Result<(), InvoiceError> {
        let answer = self.settle_held(PaymentPreimage(preimage));
        if matches!(answer, Ok(()) | Err(InvoiceError::AlreadySettled)) {
            // The client sees both as success (lnd's RPC answers both alike). An empty change: its
            // ticket is durable once the settlement is.
            let ticket = self.store.submit(Vec::new());
            self.store.durable(ticket).await;
        }
        answer
    }

    fn settle_held(&self, preimage: PaymentPreimage) -> Result<(), InvoiceError> {
        let hash = sha256::Hash::hash(&preimage.0).to_byte_array();
        let mut ledger = self.ledger();
        let Some(held) = ledger.accepted.remove(&hash) else {
            return Err(self.why_not_held(&ledger, &hash));
        };
        let deadline = held.deadline();
        if self.is_too_late(deadline) {
            ledger.accepted.insert(hash, held);
            let height = self.port.height();
            return Err(InvoiceError::ClaimDeadline { deadline, height });
        }
        let Accepted { invoice, htlcs } = held;
        let (ticket, view) = self.settle_once(&mut ledger, invoice, preimage, htlcs);
        self.announce(ticket, InvoiceEvent::Settled(view));
        Ok(())
    }

    fn why_not_held(&self, ledger: &Ledger, hash: &[u8; 32]) -> InvoiceError {
        let state = match self.find_by_hash(ledger, hash) {
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

    /// Cancels an open or accepted hold invoice and fails its HTLCs back. LDK may also be
    /// collecting the parts of a payment to it.
    pub(super) fn cancel_hold(&self, ledger: &mut Ledger, mut invoice: InvoiceRecord) -> Ticket {
        let hash = PaymentHash(invoice.payment_hash);
        let held = ledger.accepted.remove(&hash.0);
        let mut htlcs = held.map_or_else(Vec::new, |held| held.htlcs);
        invoice.state = InvoiceState::Canceled;
        invoice.amt_paid_msat = 0;
        for row in &mut htlcs {
            row.cancel(now());
        }
        let ticket = self.store.submit(once::changes(&invoice, &htlcs));
        self.port.fail(&hash);
        tracing::info!(%hash, "hold invoice canceled");
        ledger.remember(&self.store, invoice.clone(), ticket);
        self.announce(ticket, InvoiceEvent::Canceled(once::view(invoice, htlcs)));
        ticket
    }

    /// Handles an HTLC with this hash that LDK has failed. If it belongs to an accepted hold
    /// invoice, all its HTLCs are failed: a part cannot be claimed. Far from the claim deadline it
    /// does not; see [`Registry::htlc_gone`].
    pub(super) fn hold_gone(&self, ledger: &mut Ledger, hash: &PaymentHash) {
        let Some(held) = ledger.accepted.get(&hash.0) else {
            return;
        };
        if self.port.height().saturating_add(DEADLINE_MARGIN) >= held.deadline() {
            let invoice = held.invoice.clone();
            self.cancel_hold(ledger, invoice);
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
        let mut ledger = self.ledger();
        let held = Accepted {
            invoice: invoice.clone(),
            htlcs,
        };
        let in_time = self.port.height() < held.deadline();
        let is_held = |row: &HtlcRecord| has(&key(row)) || self.is_closed(row);
        let is_whole = in_time && held.htlcs.iter().all(is_held);
        ledger.accepted.insert(invoice.payment_hash, held);
        if !is_whole {
            self.cancel_hold(&mut ledger, invoice);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
