//! Payments to the hash of a known invoice: dispatch by kind, and settling of BOLT 11 invoices.

use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::ledger::Ledger;
use super::once::{Payment, Refusal};
use super::port::Claimable;
use super::registry::Registry;
use super::subscribe::InvoiceEvent;
use crate::storage::invoices::{InvoiceKind, InvoiceRecord};

impl Registry {
    /// Decides about a payment to an invoice's payment hash, and carries the decision out.
    pub(super) fn accept_bolt11(&self, claimable: Claimable) {
        let mut ledger = self.ledger();
        let hash = claimable.payment_hash;
        let payment = self.payment(claimable);
        if let Err(reason) = self.dispatch(&mut ledger, &hash, &payment) {
            self.refuse_payment(&hash, reason);
        }
    }

    fn dispatch(
        &self,
        ledger: &mut Ledger,
        hash: &PaymentHash,
        payment: &Payment,
    ) -> Result<(), Refusal> {
        let invoice = self.find_by_hash(ledger, &hash.0)?;
        let invoice = invoice.ok_or(Refusal::InvoiceNotFound)?;
        match invoice.kind {
            InvoiceKind::Bolt11 => self.pay_bolt11(ledger, invoice, payment),
            InvoiceKind::Hold => self.pay_hold(ledger, invoice, payment),
            InvoiceKind::SpontaneousAmp | InvoiceKind::Amp | InvoiceKind::Keysend => {
                Err(Refusal::HtlcInvoiceTypeMismatch)
            }
        }
    }

    /// Settles an open invoice. Repeats the claim if this payment has already settled it.
    fn pay_bolt11(
        &self,
        ledger: &mut Ledger,
        mut invoice: InvoiceRecord,
        payment: &Payment,
    ) -> Result<(), Refusal> {
        let preimage = invoice.preimage.map(PaymentPreimage);
        let preimage = preimage.ok_or(Refusal::HtlcInvoiceTypeMismatch)?;
        if self.was_settled_by(&invoice, payment)? {
            // LDK may not have carried out the earlier claim.
            self.port.claim(preimage);
            return Ok(());
        }
        self.check_payable(&invoice, payment)?;
        invoice.amt_paid_msat = payment.claimable.amount_msat;
        let htlcs = self.held_rows(invoice.add_index, payment);
        let (ticket, view) = self.settle_once(ledger, invoice, preimage, htlcs);
        self.announce(ticket, InvoiceEvent::Settled(view));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
