//! The invoice of a spontaneous AMP payment.

use lightning_types::payment::PaymentHash;

use crate::clock::unix_seconds;
use crate::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceState, InvoiceTerms};
use ldk_amp::MppRecord;

/// Blocks that an HTLC must have left (lnd's `FinalCltvRejectDelta`: 16 to broadcast, 3 to spare).
/// lnd also shows it as the CLTV delta of a spontaneous payment.
pub(in crate::invoices) const FINAL_CLTV_REJECT_DELTA: u32 = 19;

/// How long it may stay unpaid, in seconds. lnd's watcher assumes the BOLT 11 default expiry for
/// it.
const UNPAID_SECONDS: u64 = 3_600;

/// Creates the invoice, as lnd does, when the first shard arrives. It gets its add index when that
/// shard is accepted.
///
/// If it is not paid within an hour it is deleted with its canceled sets, so that unknown payers
/// cannot fill the disk. Once paid it never expires, because nobody was given an expiry.
pub(super) fn invoice(mpp: &MppRecord, first_hash: PaymentHash) -> InvoiceRecord {
    let created_at = unix_seconds();
    InvoiceRecord {
        add_index: 0,
        kind: InvoiceKind::SpontaneousAmp,
        payment_hash: first_hash,
        payment_addr: mpp.payment_addr,
        preimage: None,
        terms: InvoiceTerms {
            cltv_delta: FINAL_CLTV_REJECT_DELTA,
            ..InvoiceTerms::default()
        },
        value_msat: mpp.total_msat,
        created_at,
        expires_at: Some(created_at.saturating_add(UNPAID_SECONDS)),
        state: InvoiceState::Open,
        settle_index: None,
        settled_at: None,
        amt_paid_msat: 0,
    }
}
