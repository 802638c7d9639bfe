//! Payments received by one AMP invoice: its settled sets.

use ldk_amp::SetId;

/// A filter for the payments of an invoice, and their order.
#[derive(Debug, Clone, Copy, Default)]
pub struct PaymentPage {
    /// A settle index, exclusive; 0 is the beginning, or the end if `reversed`.
    pub index_offset: u64,
    pub limit: u64,
    /// List the last payments before the offset; the result is still oldest first, as in lists of
    /// invoices.
    pub reversed: bool,
    pub settled: TimeSpan,
}

/// A range of time in seconds since 1970, both ends inclusive; 0: no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeSpan {
    pub from: u64,
    pub to: u64,
}

/// One payment to an AMP invoice: a settled set.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentRecord {
    pub settle_index: u64,
    /// Seconds since 1970.
    pub settled_at: u64,
    pub set_id: SetId,
    pub amt_msat: u64,
    pub shards: u32,
    /// The payer's message: untrusted bytes, not necessarily UTF-8.
    pub message: Option<Vec<u8>>,
}

/// Omits the message, which is private.
impl std::fmt::Debug for PaymentRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaymentRecord")
            .field("settle_index", &self.settle_index)
            .field("amt_msat", &self.amt_msat)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

/// The total received on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayTotal {
    /// Days since 1970-01-01 (UTC).
    pub day: u64,
    pub payments: u64,
    pub amt_msat: u64,
}
