//! Payments to the hash of a known invoice: dispatch by kind, and settling of BOLT 11 invoices.

use lightning_types::payment::PaymentHash;

use super::decision::{Answer, Decision};
use super::hash_payments::{Payment, Refusal, settle_once};
use super::inbound_htlcs::Claimable;
use super::registry::Registry;
use super::state::State;
use crate::model::invoice::{InvoiceKind, InvoiceRecord};

impl Registry {
    /// Decides about a payment to an invoice's payment hash, and carries the decision out.
    pub(super) fn accept_bolt11(&self, claimable: Claimable) {
        let mut state = self.state();
        let hash = claimable.payment_hash;
        let payment = self.payment(claimable);
        let decided = self.decide_bolt11(&mut state, &hash, &payment);
        let decision = decided.unwrap_or_else(|reason| Decision::answer(reason.answer(&hash)));
        self.carry_out(&mut state, decision);
    }

    fn decide_bolt11(
        &self,
        state: &mut State,
        hash: &PaymentHash,
        payment: &Payment,
    ) -> Result<Decision, Refusal> {
        let invoice = self.find_by_hash(state, hash)?;
        let invoice = invoice.ok_or(Refusal::InvoiceNotFound)?;
        match invoice.kind {
            InvoiceKind::Bolt11 => self.pay_bolt11(state, invoice, payment),
            InvoiceKind::Hold => self.pay_hold(state, invoice, payment),
            InvoiceKind::SpontaneousAmp | InvoiceKind::Amp | InvoiceKind::Keysend => {
                Err(Refusal::HtlcInvoiceTypeMismatch)
            }
        }
    }

    /// Settles an open invoice. Repeats the claim if this payment has already settled it.
    fn pay_bolt11(
        &self,
        state: &mut State,
        mut invoice: InvoiceRecord,
        payment: &Payment,
    ) -> Result<Decision, Refusal> {
        let preimage = invoice.preimage;
        let preimage = preimage.ok_or(Refusal::HtlcInvoiceTypeMismatch)?;
        if self.was_settled_by(&invoice, payment)? {
            // LDK may not have carried out the earlier claim.
            return Ok(Decision::answer(Answer::Claim(preimage)));
        }
        self.check_payable(&invoice, payment)?;
        invoice.amt_paid_msat = payment.claimable.amount_msat;
        let htlcs = self.held_rows(invoice.add_index, payment);
        Ok(settle_once(state, invoice, preimage, htlcs))
    }
}

#[cfg(test)]
mod tests;
