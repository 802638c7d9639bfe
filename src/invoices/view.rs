//! Invoices as shown to API clients.

use crate::model::htlc::{HtlcRecord, SetRecord};
use crate::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceState};

/// A consistent view of an invoice with its HTLCs and AMP sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceView {
    pub record: InvoiceRecord,
    pub htlcs: Vec<HtlcRecord>,
    pub sets: Vec<SetRecord>,
}

impl InvoiceView {
    /// The invoice without HTLCs.
    pub(super) fn alone(record: InvoiceRecord) -> Self {
        Self::with_htlcs(record, Vec::new())
    }

    /// An invoice that is not paid in AMP sets.
    pub(super) fn with_htlcs(record: InvoiceRecord, htlcs: Vec<HtlcRecord>) -> Self {
        Self {
            record,
            htlcs,
            sets: Vec::new(),
        }
    }

    /// Returns whether it was paid at least once. An AMP invoice stays open after that.
    pub fn is_paid(&self) -> bool {
        match self.record.kind {
            InvoiceKind::SpontaneousAmp | InvoiceKind::Amp => {
                self.sets.iter().any(|set| set.settle_index.is_some())
            }
            InvoiceKind::Bolt11 | InvoiceKind::Hold | InvoiceKind::Keysend => {
                self.record.state == InvoiceState::Settled
            }
        }
    }
}
