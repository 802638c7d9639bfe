//! Hold invoices: paid to a hash whose preimage their maker keeps until it decides.
//!
//! *Open* -> *accepted* when LDK has the whole payment -> *settled* by the preimage, or *canceled* by
//! the maker or because time is up. What is accepted is in [`Ledger::accepted`], and nothing else is.
//!
//! Time is up 39 blocks before the first HTLC expires: there LDK gives a payment back by itself, so
//! that it need not close the channel. (lnd's `invoices.holdexpirydelta` is 18 blocks.) Whoever
//! wants to decide late asks for a larger `cltv_expiry` in its invoice. That the invoice itself
//! expires does not matter any more once it is accepted.

use bitcoin::hashes::{Hash, sha256};
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::InvoiceError;
use super::give_back::DEADLINE_MARGIN;
use super::ledger::Ledger;
use super::once::{self, Payment, Refusal};
use super::registry::{Registry, now};
use super::restore::key;
use super::subscribe::InvoiceEvent;
use ldk_amp::HtlcKey;
use crate::storage::invoices::{HtlcRecord, InvoiceKind, InvoiceRecord, InvoiceState};
use crate::storage::{StorageError, Ticket};

/// An accepted hold invoice with the rows of its HTLCs.
pub(super) struct Accepted {
    invoice: InvoiceRecord,
    htlcs: Vec<HtlcRecord>,
}

impl Accepted {
    /// The height at which LDK gives back the first of its HTLCs.
    fn deadline(&self) -> u32 {
        let deadlines = self.htlcs.iter().map(once::claim_deadline);
        deadlines.min().unwrap_or(u32::MAX)
    }

    /// Whether LDK tells of this payment again. None of its HTLCs are left in channels if these were
    /// closed.
    fn is(&self, payment: &Payment) -> bool {
        let keys: Vec<HtlcKey> = self.htlcs.iter().map(key).collect();
        payment.htlcs.iter().all(|htlc| keys.contains(&htlc.key))
    }
}

impl Registry {
    /// A payment to a hold invoice: held from now on, or known already.
    pub(super) fn pay_hold(
        &self,
        ledger: &mut Ledger,
        mut invoice: InvoiceRecord,
        payment: &Payment,
    ) -> Result<(), Refusal> {
        match ledger.accepted.get(&invoice.payment_hash) {
            Some(held) if held.is(payment) => return Ok(()),
            // LDK has one payment per hash: if it is another one, ours is gone.
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
            // Without rows nothing would remind us of it after a restart.
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

    /// Settles the accepted hold invoice that this preimage belongs to. It is on disk when this
    /// returns.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`], [`InvoiceError::StillOpen`], [`InvoiceError::AlreadySettled`],
    /// [`InvoiceError::AlreadyCanceled`]; [`InvoiceError::ClaimDeadline`] if LDK is about to give the
    /// payment back: whoever gave the preimage away cannot be paid for it any more.
    pub async fn settle_hold(&self, preimage: [u8; 32]) -> Result<(), InvoiceError> {
        let answer = self.settle_held(PaymentPreimage(preimage));
        if matches!(answer, Ok(()) | Err(InvoiceError::AlreadySettled)) {
            // Both mean to a caller that it is done (lnd's RPC answers both alike). What is queued
            // now is written after the settlement.
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

    /// Cancels a hold invoice that is open or accepted; what is held for it goes back. LDK may also
    /// be collecting the parts of a payment to it.
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

    /// LDK has failed an HTLC with this hash. If it is one of an accepted hold invoice, all of them
    /// go back: a part cannot be claimed. Far from the claim deadline it is not; see
    /// [`Registry::htlc_gone`].
    pub(super) fn hold_gone(&self, ledger: &mut Ledger, hash: &PaymentHash) {
        let Some(held) = ledger.accepted.get(&hash.0) else {
            return;
        };
        if self.port.height().saturating_add(DEADLINE_MARGIN) >= held.deadline() {
            let invoice = held.invoice.clone();
            self.cancel_hold(ledger, invoice);
        }
    }

    /// After a restart: goes on holding the payment of these rows if LDK does, and cancels its
    /// invoice if not. What no invoice waits for, though the rows say so, goes back.
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
            let what = format!("invoice {add_index} waits for no payment");
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
