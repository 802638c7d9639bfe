//! Parts of ordinary invoices. LDK collects them by itself: what comes here is complete.

use std::fmt;

use lightning_types::payment::PaymentPreimage;

use super::InvoiceView;
use super::ledger::Ledger;
use super::port::{Claimable, IncomingHtlc};
use super::registry::{Registry, now};
use super::subscribe::InvoiceEvent;
use crate::storage::invoices::{
    HtlcRecord, HtlcState, InvoiceKind, InvoiceRecord, InvoiceState, PutHtlc, PutInvoice,
};
use crate::storage::{Change, StorageError};

/// Why a payment is refused. On the wire all are `incorrect_or_unknown_payment_details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    InvoiceNotFound,
    HtlcInvoiceTypeMismatch,
    InvoiceNotOpen,
    InvoiceExpired,
    AmountTooLow,
    /// LDK is about to give it back, or has done so before it told us of it.
    ClaimDeadlineTooNear,
    Unavailable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        tracing::error!("a payment is refused: {error}");
        Self::Unavailable
    }
}

impl Registry {
    /// Decides about a payment with an ordinary payment hash, and carries the decision out.
    pub fn accept_bolt11(&self, claimable: Claimable) {
        let mut ledger = self.ledger();
        let hash = claimable.payment_hash;
        let incoming = self.port.incoming(&hash);
        match self.payable(&ledger, &claimable, &incoming) {
            // LDK may not have carried out what was decided before.
            Ok((invoice, preimage)) if invoice.state == InvoiceState::Settled => {
                self.port.claim(preimage);
            }
            Ok((invoice, preimage)) => {
                self.settle_bolt11(&mut ledger, invoice, preimage, &claimable, &incoming);
            }
            Err(reason) => {
                tracing::info!(%hash, %reason, "payment refused");
                self.port.fail(&hash);
            }
        }
    }

    /// The invoice that this pays: an open one, or a settled one if it is these HTLCs that settled it.
    fn payable(
        &self,
        ledger: &Ledger,
        claimable: &Claimable,
        incoming: &[IncomingHtlc],
    ) -> Result<(InvoiceRecord, PaymentPreimage), Refusal> {
        let hash = &claimable.payment_hash.0;
        let recent = ledger
            .hashes
            .get(hash)
            .and_then(|addr| ledger.invoices.get(addr));
        let invoice = match recent {
            Some(invoice) => Some(invoice.clone()),
            None => self.store.invoice_by_hash(hash)?,
        };
        let invoice = invoice.ok_or(Refusal::InvoiceNotFound)?;
        if invoice.kind != InvoiceKind::Bolt11 {
            return Err(Refusal::HtlcInvoiceTypeMismatch);
        }
        let preimage = invoice.preimage.map(PaymentPreimage);
        let preimage = preimage.ok_or(Refusal::HtlcInvoiceTypeMismatch)?;
        if invoice.state == InvoiceState::Settled && self.paid_it(&invoice, incoming)? {
            return Ok((invoice, preimage));
        }
        if invoice.state != InvoiceState::Open {
            return Err(Refusal::InvoiceNotOpen);
        }
        if invoice.expires_at.is_some_and(|end| now() > end) {
            return Err(Refusal::InvoiceExpired);
        }
        if claimable.amount_msat < invoice.value_msat {
            return Err(Refusal::AmountTooLow);
        }
        let claim_by = self
            .port
            .height()
            .saturating_add(self.limits.set.claim_margin_blocks);
        if claimable.claim_deadline.is_some_and(|end| end < claim_by) {
            return Err(Refusal::ClaimDeadlineTooNear);
        }
        Ok((invoice, preimage))
    }

    /// Whether these HTLCs are those that the invoice was settled with: LDK tells an event again if
    /// it was stopped before it could forget it. Any other HTLC is a second payment. None are left
    /// if their channel was closed meanwhile; what we settled is then to be claimed on the chain.
    fn paid_it(
        &self,
        invoice: &InvoiceRecord,
        incoming: &[IncomingHtlc],
    ) -> Result<bool, StorageError> {
        for htlc in incoming {
            let row = self
                .store
                .htlc(&htlc.key.channel_id.0, htlc.key.htlc_id)?
                .filter(|row| row.add_index == invoice.add_index);
            if row.is_none_or(|row| row.state != HtlcState::Settled) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The rows first, then the claim: see the room's description.
    fn settle_bolt11(
        &self,
        ledger: &mut Ledger,
        mut invoice: InvoiceRecord,
        preimage: PaymentPreimage,
        claimable: &Claimable,
        incoming: &[IncomingHtlc],
    ) {
        invoice.state = InvoiceState::Settled;
        invoice.settle_index = Some(ledger.next_settle_index());
        invoice.settled_at = Some(now());
        invoice.amt_paid_msat = claimable.amount_msat;
        let row = |htlc: &IncomingHtlc| self.htlc_row(&invoice, preimage, claimable, htlc);
        let htlcs: Vec<HtlcRecord> = incoming.iter().map(row).collect();
        let mut changes: Vec<Box<dyn Change>> = vec![Box::new(PutInvoice(invoice.clone()))];
        changes.extend(
            htlcs
                .iter()
                .map(|row| Box::new(PutHtlc(row.clone())) as Box<dyn Change>),
        );
        let ticket = self.store.submit(changes);
        self.port.claim(preimage);
        tracing::info!(
            hash = %claimable.payment_hash,
            amount_msat = claimable.amount_msat,
            "invoice settled"
        );
        ledger.remember(&self.store, invoice.clone(), ticket);
        let view = InvoiceView {
            record: invoice,
            htlcs,
            sets: Vec::new(),
        };
        self.announce(ticket, InvoiceEvent::Settled(view));
    }

    fn htlc_row(
        &self,
        invoice: &InvoiceRecord,
        preimage: PaymentPreimage,
        claimable: &Claimable,
        htlc: &IncomingHtlc,
    ) -> HtlcRecord {
        HtlcRecord {
            channel_id: htlc.key.channel_id.0,
            htlc_id: htlc.key.htlc_id,
            add_index: invoice.add_index,
            payment_hash: claimable.payment_hash.0,
            scid: self.port.scid(&htlc.key.channel_id),
            amount_msat: htlc.amount_msat,
            total_msat: claimable.amount_msat,
            accept_height: self.port.height(),
            accepted_at: now(),
            resolved_at: Some(now()),
            expiry_height: htlc.cltv_expiry,
            claim_deadline: claimable.claim_deadline,
            state: HtlcState::Settled,
            claimed: false,
            custom_records: claimable.custom_records.clone(),
            shard: None,
            preimage: Some(preimage.0),
        }
    }
}

#[cfg(test)]
mod tests;
