//! The invoice of a payment that nobody asked for.

use lightning_types::payment::PaymentHash;

use super::rules::FINAL_CLTV_REJECT_DELTA;
use ldk_amp::MppRecord;
use crate::invoices::registry::now;
use crate::storage::invoices::{InvoiceKind, InvoiceRecord, InvoiceState, InvoiceTerms};

/// How long it may stay unpaid, in seconds: lnd's watcher assumes BOLT 11's default for it.
const UNPAID_SECONDS: u64 = 3_600;

/// Made as lnd makes it, when the first shard arrives. Its add index comes once that is accepted.
///
/// Unpaid it is deleted after an hour, with its canceled sets: what strangers send must not fill
/// the disk. Once it is paid it never expires: nobody was told an expiry.
pub(super) fn invoice(mpp: &MppRecord, first_hash: PaymentHash) -> InvoiceRecord {
    let created_at = now();
    InvoiceRecord {
        add_index: 0,
        kind: InvoiceKind::SpontaneousAmp,
        payment_hash: first_hash.0,
        payment_addr: mpp.payment_addr.to_bytes(),
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
