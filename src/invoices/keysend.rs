//! Keysend: spontaneous payments that carry their own preimage.
//!
//! As in lnd, an invoice is created for each and settled at once. Those with an MPP record are
//! refused, also as in lnd; LDK would collect their parts.

use std::collections::BTreeMap;

use lightning::sign::EntropySource;
use lightning_types::payment::{PaymentHash, PaymentPreimage, PaymentSecret};

use super::accept_amp::FINAL_CLTV_REJECT_DELTA;
use super::ledger::Ledger;
use super::once::{Payment, Refusal};
use super::port::Claimable;
use super::registry::{Registry, now, unpaid};
use super::subscribe::InvoiceEvent;
use crate::storage::invoices::{InvoiceKind, InvoiceRecord, InvoiceState, InvoiceTerms};

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
        let mut ledger = self.ledger();
        let hash = claimable.payment_hash;
        let payment = self.payment(claimable);
        let paid = self.pay_keysend(&mut ledger, payment, preimage, secret.is_some());
        if let Err(reason) = paid {
            self.refuse_payment(&hash, reason);
        }
    }

    fn pay_keysend(
        &self,
        ledger: &mut Ledger,
        mut payment: Payment,
        preimage: PaymentPreimage,
        has_mpp: bool,
    ) -> Result<(), Refusal> {
        let hash = payment.claimable.payment_hash;
        if let Some(invoice) = self.find_by_hash(ledger, &hash.0)? {
            let is_keysend = invoice.kind == InvoiceKind::Keysend;
            if is_keysend && self.was_settled_by(&invoice, &payment)? {
                // LDK may not have carried out the earlier claim.
                self.port.claim(preimage);
                return Ok(());
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
        let add_index = ledger.next_add_index();
        let invoice = self.keysend_invoice(add_index, &hash, payment.claimable.amount_msat);
        let mut htlcs = self.held_rows(add_index, &payment);
        for row in &mut htlcs {
            // Without an MPP record the sender states no total.
            row.total_msat = 0;
        }
        let added = unpaid(invoice.clone());
        let (ticket, settled) = self.settle_once(ledger, invoice, preimage, htlcs);
        self.announce(ticket, InvoiceEvent::Added(added));
        self.announce(ticket, InvoiceEvent::Settled(settled));
        Ok(())
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
            payment_hash: hash.0,
            payment_addr: self.keys.get_secure_random_bytes(),
            preimage: None,
            terms: InvoiceTerms {
                cltv_delta: FINAL_CLTV_REJECT_DELTA,
                ..InvoiceTerms::default()
            },
            value_msat: amount_msat,
            created_at: now(),
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
