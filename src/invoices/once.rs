//! Invoices that are paid once, by one payment hash: what ordinary, hold and keysend invoices have in
//! common. LDK collects the parts of such a payment by itself: what comes here is complete.

use std::fmt;

use lightning::chain::channelmonitor::HTLC_FAIL_BACK_BUFFER;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::ledger::Ledger;
use super::port::{Claimable, IncomingHtlc};
use super::registry::{Registry, now};
use super::{InvoiceView, SETTLED};
use crate::storage::invoices::{
    HtlcRecord, HtlcState, InvoiceRecord, InvoiceState, PutHtlc, PutInvoice,
};
use crate::storage::{Change, StorageError, Ticket};

/// Why a payment is refused. On the wire all are `incorrect_or_unknown_payment_details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    InvoiceNotFound,
    HtlcInvoiceTypeMismatch,
    InvoiceNotOpen,
    InvoiceExpired,
    AmountTooLow,
    ExpiryTooSoon,
    /// LDK is about to give it back, or has: claiming it now may claim a part of it only.
    ClaimDeadlineTooNear,
    /// A hold invoice is paid over channels that were closed meanwhile.
    ChannelClosed,
    /// Keysend is not switched on.
    KeysendOff,
    /// A keysend with an MPP record, which nobody but LDK would take.
    KeysendInParts,
    /// A keysend to the hash of an invoice that we have.
    DuplicateHash,
    /// The database cannot be read.
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

/// A whole payment that LDK holds, with the HTLCs that bring it: none if their channels were closed.
pub(super) struct Payment {
    pub(super) claimable: Claimable,
    pub(super) htlcs: Vec<IncomingHtlc>,
}

impl Registry {
    pub(super) fn payment(&self, claimable: Claimable) -> Payment {
        let htlcs = self
            .port
            .incoming_on(&claimable.channels, &claimable.payment_hash);
        Payment { claimable, htlcs }
    }

    pub(super) fn refuse_payment(&self, hash: &PaymentHash, reason: Refusal) {
        metrics::counter!("ampd_htlcs_refused_total", "reason" => format!("{reason:?}"))
            .increment(1);
        tracing::info!(%hash, %reason, "payment refused");
        self.port.fail(hash);
    }

    /// The rules for a payment that we have not seen.
    pub(super) fn check_payable(
        &self,
        invoice: &InvoiceRecord,
        payment: &Payment,
    ) -> Result<(), Refusal> {
        if invoice.state != InvoiceState::Open {
            return Err(Refusal::InvoiceNotOpen);
        }
        for htlc in &payment.htlcs {
            // It was for a deleted invoice with the same hash. A claim would come too late.
            if self.gave_back(&htlc.key)?.is_some() {
                return Err(Refusal::InvoiceNotOpen);
            }
        }
        if invoice.expires_at.is_some_and(|end| now() > end) {
            return Err(Refusal::InvoiceExpired);
        }
        if payment.claimable.amount_msat < invoice.value_msat {
            return Err(Refusal::AmountTooLow);
        }
        let least = self.port.height().saturating_add(invoice.terms.cltv_delta);
        if payment.htlcs.iter().any(|htlc| htlc.cltv_expiry < least) {
            return Err(Refusal::ExpiryTooSoon);
        }
        self.check_deadline(&payment.claimable)
    }

    /// A node that was down for long is told of a payment that LDK has given back meanwhile.
    pub(super) fn check_deadline(&self, claimable: &Claimable) -> Result<(), Refusal> {
        match claimable.claim_deadline {
            Some(deadline) if self.is_too_late(deadline) => Err(Refusal::ClaimDeadlineTooNear),
            _ => Ok(()),
        }
    }

    /// Whether a block that comes in between could make LDK give a payment back instead of claiming
    /// it. LDK drops each part at its own deadline, and a claim of what is left then does nothing
    /// but lose track of it: so nothing is claimed that is near its earliest deadline.
    pub(super) fn is_too_late(&self, deadline: u32) -> bool {
        let margin = self.limits.set.claim_margin_blocks;
        deadline < self.port.height().saturating_add(margin)
    }

    /// Whether it is this payment that the invoice was settled with: LDK tells an event again if it
    /// was stopped before it could forget it. Any other HTLC is a second payment. None are left if
    /// their channel was closed meanwhile; what we settled is then to be claimed on the chain.
    pub(super) fn was_settled_by(
        &self,
        invoice: &InvoiceRecord,
        payment: &Payment,
    ) -> Result<bool, StorageError> {
        if invoice.state != InvoiceState::Settled {
            return Ok(false);
        }
        for htlc in &payment.htlcs {
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

    /// The rows of a payment that arrives, held.
    pub(super) fn held_rows(&self, add_index: u64, payment: &Payment) -> Vec<HtlcRecord> {
        metrics::counter!("ampd_htlcs_accepted_total").increment(payment.htlcs.len() as u64);
        let claimable = &payment.claimable;
        let row = |htlc: &IncomingHtlc| HtlcRecord {
            channel_id: htlc.key.channel_id.0,
            htlc_id: htlc.key.htlc_id,
            add_index,
            payment_hash: claimable.payment_hash.0,
            scid: self.port.scid(&htlc.key.channel_id),
            amount_msat: htlc.amount_msat,
            total_msat: claimable.amount_msat,
            accept_height: self.port.height(),
            accepted_at: now(),
            resolved_at: None,
            expiry_height: htlc.cltv_expiry,
            claim_deadline: claimable.claim_deadline,
            state: HtlcState::Accepted,
            claimed: false,
            custom_records: claimable.custom_records.clone(),
            shard: None,
            preimage: None,
        };
        payment.htlcs.iter().map(row).collect()
    }

    /// The rows first, then the claim: see the room's description. The caller announces it.
    pub(super) fn settle_once(
        &self,
        ledger: &mut Ledger,
        mut invoice: InvoiceRecord,
        preimage: PaymentPreimage,
        mut htlcs: Vec<HtlcRecord>,
    ) -> (Ticket, InvoiceView) {
        invoice.preimage = Some(preimage.0);
        invoice.state = InvoiceState::Settled;
        invoice.settle_index = Some(ledger.next_settle_index());
        invoice.settled_at = Some(now());
        for row in &mut htlcs {
            row.state = HtlcState::Settled;
            row.resolved_at = Some(now());
            row.preimage = Some(preimage.0);
        }
        let ticket = self.store.submit_patiently(changes(&invoice, &htlcs));
        self.port.claim(preimage);
        metrics::counter!("ampd_htlcs_settled_total").increment(htlcs.len() as u64);
        tracing::info!(
            target: SETTLED,
            hash = %PaymentHash(invoice.payment_hash),
            amount_msat = invoice.amt_paid_msat,
            "invoice settled"
        );
        ledger.remember(&self.store, invoice.clone(), ticket);
        (ticket, view(invoice, htlcs))
    }
}

/// An invoice and its HTLCs as they are to be stored.
pub(super) fn changes(invoice: &InvoiceRecord, htlcs: &[HtlcRecord]) -> Vec<Box<dyn Change>> {
    let mut changes: Vec<Box<dyn Change>> = vec![Box::new(PutInvoice(invoice.clone()))];
    for row in htlcs {
        changes.push(Box::new(PutHtlc(row.clone())));
    }
    changes
}

pub(super) fn view(record: InvoiceRecord, htlcs: Vec<HtlcRecord>) -> InvoiceView {
    InvoiceView {
        record,
        htlcs,
        sets: Vec::new(),
    }
}

/// The height at which LDK gives the HTLC back by itself.
pub(super) fn claim_deadline(row: &HtlcRecord) -> u32 {
    let fallback = row.expiry_height.saturating_sub(HTLC_FAIL_BACK_BUFFER);
    row.claim_deadline.unwrap_or(fallback)
}
