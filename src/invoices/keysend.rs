//! Keysend: spontaneous payments that carry their own preimage.
//!
//! As in lnd, an invoice is created for each and settled at once. Those with an MPP record are
//! refused, also as in lnd; LDK would collect their parts.

use std::collections::BTreeMap;

use ldk_amp::PaymentAddr;
use lightning::sign::EntropySource;
use lightning_types::payment::{PaymentHash, PaymentPreimage, PaymentSecret};

use super::accept_amp::FINAL_CLTV_REJECT_DELTA;
use super::decision::{Answer, Decision};
use super::event::InvoiceEvent;
use super::hash_payments::{Payment, Refusal, settle_once};
use super::inbound_htlcs::Claimable;
use super::registry::Registry;
use super::state::State;
use crate::clock::unix_seconds;
use crate::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceState, InvoiceTerms};

/// The TLV record with the preimage.
const KEYSEND_RECORD: u64 = 5_482_373_484;

impl Registry {
    /// Decides about a payment that carries its own preimage, and carries the decision out.
    ///
    /// `secret` is that of its MPP record, if it has one.
    pub(super) fn accept_keysend(
        &self,
        claimable: Claimable,
        preimage: PaymentPreimage,
        secret: Option<PaymentSecret>,
    ) {
        let mut state = self.state();
        let hash = claimable.payment_hash;
        let payment = self.payment(claimable);
        let decided = self.decide_keysend(&mut state, payment, preimage, secret.is_some());
        let decision = decided.unwrap_or_else(|reason| Decision::answer(reason.answer(&hash)));
        self.carry_out(&mut state, decision);
    }

    fn decide_keysend(
        &self,
        state: &mut State,
        mut payment: Payment,
        preimage: PaymentPreimage,
        has_mpp: bool,
    ) -> Result<Decision, Refusal> {
        let hash = payment.claimable.payment_hash;
        if let Some(invoice) = self.find_by_hash(state, &hash)? {
            let is_keysend = invoice.kind == InvoiceKind::Keysend;
            if is_keysend && self.was_settled_by(&invoice, &payment)? {
                // LDK may not have carried out the earlier claim.
                return Ok(Decision::answer(Answer::Claim(preimage)));
            }
            return Err(Refusal::DuplicateHash);
        }
        if !self.limits.accept_keysend {
            return Err(Refusal::KeysendOff);
        }
        if has_mpp {
            return Err(Refusal::KeysendInParts);
        }
        self.check_deadline(&payment.claimable)?;
        restore_preimage_record(&mut payment.claimable.custom_records, &preimage);
        let add_index = state.next_add_index();
        let invoice = self.keysend_invoice(add_index, &hash, payment.claimable.amount_msat);
        let mut htlcs = self.held_rows(add_index, &payment);
        for row in &mut htlcs {
            // Without an MPP record the sender states no total.
            row.total_msat = 0;
        }
        let added = InvoiceEvent::added(invoice.clone());
        let settled = settle_once(state, invoice, preimage, htlcs);
        Ok(Decision::default().and_event(added).and(settled))
    }

    /// The invoice of a keysend payment, as lnd creates it. lnd's payment address is zero; ours is
    /// random, since payment addresses are unique in our database, and is shown as zero.
    fn keysend_invoice(
        &self,
        add_index: u64,
        hash: &PaymentHash,
        amount_msat: u64,
    ) -> InvoiceRecord {
        InvoiceRecord {
            add_index,
            kind: InvoiceKind::Keysend,
            payment_hash: *hash,
            payment_addr: PaymentAddr::from_bytes(self.keys.get_secure_random_bytes()),
            preimage: None,
            terms: InvoiceTerms {
                cltv_delta: FINAL_CLTV_REJECT_DELTA,
                ..InvoiceTerms::default()
            },
            value_msat: amount_msat,
            created_at: unix_seconds(),
            expires_at: None,
            state: InvoiceState::Open,
            settle_index: None,
            settled_at: None,
            amt_paid_msat: amount_msat,
        }
    }
}

/// LDK removes the preimage from the records; lnd's clients expect it there.
fn restore_preimage_record(records: &mut BTreeMap<u64, Vec<u8>>, preimage: &PaymentPreimage) {
    records.insert(KEYSEND_RECORD, preimage.0.to_vec());
}

#[cfg(test)]
mod tests;
