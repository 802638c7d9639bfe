//! A hold invoice whose payment has arrived and waits for the client's decision.

use lightning::chain::channelmonitor::HTLC_FAIL_BACK_BUFFER;

use super::inbound_htlcs::IncomingHtlc;
use crate::model::htlc::HtlcRecord;
use crate::model::invoice::InvoiceRecord;
use ldk_amp::HtlcKey;

/// An accepted hold invoice with the rows of its HTLCs.
pub(super) struct Accepted {
    pub(super) invoice: InvoiceRecord,
    pub(super) htlcs: Vec<HtlcRecord>,
}

impl Accepted {
    /// The height at which LDK fails back the first of its HTLCs.
    pub(super) fn deadline(&self) -> u32 {
        let deadlines = self.htlcs.iter().map(claim_deadline);
        deadlines.min().unwrap_or(u32::MAX)
    }

    /// Returns whether LDK reports this payment again. `htlcs` is empty if the channels
    /// were closed.
    pub(super) fn is(&self, htlcs: &[IncomingHtlc]) -> bool {
        let keys: Vec<HtlcKey> = self.htlcs.iter().map(HtlcRecord::key).collect();
        htlcs.iter().all(|htlc| keys.contains(&htlc.key))
    }
}

/// The height at which LDK fails the HTLC back.
fn claim_deadline(row: &HtlcRecord) -> u32 {
    let fallback = row.expiry_height.saturating_sub(HTLC_FAIL_BACK_BUFFER);
    row.claim_deadline.unwrap_or(fallback)
}
