//! Invoices that are paid once, to a single payment hash: what BOLT 11, hold and keysend invoices
//! share. LDK collects the parts of such payments; they are complete when they arrive here.

use std::fmt;

use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::decision::{Answer, Decision};
use super::event::InvoiceEvent;
use super::inbound_htlcs::{Claimable, IncomingHtlc};
use super::registry::Registry;
use super::state::State;
use super::{InvoiceView, SETTLED};
use crate::clock::unix_seconds;
use crate::model::htlc::{HtlcRecord, HtlcState};
use crate::model::invoice::{InvoiceRecord, InvoiceState};
use crate::storage::StorageError;
use crate::storage::invoices::{PutHtlc, PutInvoice};

/// Why a payment is failed. On the wire all are `incorrect_or_unknown_payment_details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    InvoiceNotFound,
    HtlcInvoiceTypeMismatch,
    InvoiceNotOpen,
    InvoiceExpired,
    AmountTooLow,
    ExpiryTooSoon,
    /// LDK is about to fail it back, or has; a claim now might get only some of its parts.
    ClaimDeadlineTooNear,
    /// The channels that carried the payment to a hold invoice have been closed.
    ChannelClosed,
    /// Keysend is disabled.
    KeysendOff,
    /// Keysend with an MPP record, which lnd rejects too.
    KeysendInParts,
    /// A keysend to the hash of an existing invoice.
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
        tracing::error!("payment refused: cannot read the database: {error}");
        Self::Unavailable
    }
}

impl Refusal {
    /// Logs and counts a refused payment, and returns the instruction that fails it.
    pub(super) fn answer(self, hash: &PaymentHash) -> Answer {
        metrics::counter!("ampd_htlcs_refused_total", "reason" => self.to_string()).increment(1);
        tracing::info!(%hash, reason = %self, "payment refused");
        Answer::Fail(*hash)
    }
}

/// A complete claimable payment with its HTLCs; empty if their channels were closed.
pub(super) struct Payment {
    pub(super) claimable: Claimable,
    pub(super) htlcs: Vec<IncomingHtlc>,
}

impl Registry {
    pub(super) fn payment(&self, claimable: Claimable) -> Payment {
        let htlcs = self
            .inbound
            .incoming_on(&claimable.channels, &claimable.payment_hash);
        Payment { claimable, htlcs }
    }

    /// Checks a payment that has not been seen before.
    pub(super) fn check_payable(
        &self,
        invoice: &InvoiceRecord,
        payment: &Payment,
    ) -> Result<(), Refusal> {
        if invoice.state != InvoiceState::Open {
            return Err(Refusal::InvoiceNotOpen);
        }
        for htlc in &payment.htlcs {
            // It was sent to a deleted invoice with the same hash. A claim would come too late.
            if self.failed_back_hash(&htlc.key)?.is_some() {
                return Err(Refusal::InvoiceNotOpen);
            }
        }
        if invoice.expires_at.is_some_and(|end| unix_seconds() > end) {
            return Err(Refusal::InvoiceExpired);
        }
        if payment.claimable.amount_msat < invoice.value_msat {
            return Err(Refusal::AmountTooLow);
        }
        let least = self
            .inbound
            .height()
            .saturating_add(invoice.terms.cltv_delta);
        if payment.htlcs.iter().any(|htlc| htlc.cltv_expiry < least) {
            return Err(Refusal::ExpiryTooSoon);
        }
        self.check_deadline(&payment.claimable)
    }

    /// Refuses payments near or past their claim deadline. After a long downtime, LDK may report a
    /// payment that it has already failed back.
    pub(super) fn check_deadline(&self, claimable: &Claimable) -> Result<(), Refusal> {
        match claimable.claim_deadline {
            Some(deadline) if self.is_too_late(deadline) => Err(Refusal::ClaimDeadlineTooNear),
            _ => Ok(()),
        }
    }

    /// Returns whether the next block could make LDK fail the payment back. LDK drops each part at
    /// its own deadline, and a claim of the remaining parts has no effect except that LDK forgets
    /// them. So nothing is claimed close to its earliest deadline.
    pub(super) fn is_too_late(&self, deadline: u32) -> bool {
        let margin = self.limits.set.claim_margin_blocks;
        deadline < self.inbound.height().saturating_add(margin)
    }

    /// Returns whether the invoice was settled by this very payment: LDK replays an event if the
    /// node stopped before it was marked as handled. Any other HTLC is a second payment. `htlcs` is
    /// empty if the channels have been closed; the settled payment is then claimed on chain.
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
                .htlc(&htlc.key)?
                .filter(|row| row.add_index == invoice.add_index);
            if row.is_none_or(|row| row.state != HtlcState::Settled) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The rows of an arriving payment, in state accepted.
    pub(super) fn held_rows(&self, add_index: u64, payment: &Payment) -> Vec<HtlcRecord> {
        metrics::counter!("ampd_htlcs_accepted_total").increment(payment.htlcs.len() as u64);
        let claimable = &payment.claimable;
        let row = |htlc: &IncomingHtlc| HtlcRecord {
            channel_id: htlc.key.channel_id,
            htlc_id: htlc.key.htlc_id,
            add_index,
            payment_hash: claimable.payment_hash,
            scid: self.inbound.scid(&htlc.key.channel_id),
            amount_msat: htlc.amount_msat,
            total_msat: claimable.amount_msat,
            accept_height: self.inbound.height(),
            accepted_at: unix_seconds(),
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
}

/// Settles the invoice and claims its HTLCs.
pub(super) fn settle_once(
    state: &mut State,
    mut invoice: InvoiceRecord,
    preimage: PaymentPreimage,
    mut htlcs: Vec<HtlcRecord>,
) -> Decision {
    invoice.preimage = Some(preimage);
    invoice.state = InvoiceState::Settled;
    invoice.settle_index = Some(state.next_settle_index());
    invoice.settled_at = Some(unix_seconds());
    for row in &mut htlcs {
        row.state = HtlcState::Settled;
        row.resolved_at = Some(unix_seconds());
        row.preimage = Some(preimage);
    }
    metrics::counter!("ampd_htlcs_settled_total").increment(htlcs.len() as u64);
    tracing::info!(
        target: SETTLED,
        hash = %invoice.payment_hash,
        amount_msat = invoice.amt_paid_msat,
        "invoice settled"
    );
    store(&invoice, &htlcs)
        .and_answer(Answer::Claim(preimage))
        .and_event(InvoiceEvent::Settled(InvoiceView::with_htlcs(
            invoice, htlcs,
        )))
}

/// Writes and remembers an invoice, and writes its HTLCs.
pub(super) fn store(invoice: &InvoiceRecord, htlcs: &[HtlcRecord]) -> Decision {
    let stored = Decision::default()
        .and_row(PutInvoice(invoice.clone()))
        .and_remembered(invoice.clone());
    htlcs
        .iter()
        .fold(stored, |stored, row| stored.and_row(PutHtlc(row.clone())))
}
