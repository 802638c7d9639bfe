//! Events of invoices, as subscribers get them.

use super::InvoiceView;
use crate::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceState};

/// An event of an invoice.
#[derive(Debug, Clone)]
pub enum InvoiceEvent {
    Added(InvoiceView),
    /// The invoice, or one set of an AMP invoice, was settled; the view of the latter has only that
    /// set.
    Settled(InvoiceView),
    /// A hold invoice was paid and awaits the client's decision. Only subscribers of this single
    /// invoice get it, as in lnd.
    Accepted(InvoiceView),
    /// The invoice can no longer be paid. Only subscribers of this single invoice get it.
    Canceled(InvoiceView),
}

impl InvoiceEvent {
    /// The event of a new invoice, which shows it without the payment that may have created it.
    pub(super) fn added(record: InvoiceRecord) -> Self {
        // The preimage of a hold invoice is only known after it was settled.
        let preimage = match record.kind {
            InvoiceKind::Hold => None,
            _ => record.preimage,
        };
        Self::Added(InvoiceView::alone(InvoiceRecord {
            preimage,
            state: InvoiceState::Open,
            settle_index: None,
            settled_at: None,
            amt_paid_msat: 0,
            ..record
        }))
    }

    /// The invoice as sent to subscribers.
    pub fn view(&self) -> &InvoiceView {
        match self {
            Self::Added(view)
            | Self::Settled(view)
            | Self::Accepted(view)
            | Self::Canceled(view) => view,
        }
    }

    /// Converts the event into its view.
    pub fn into_view(self) -> InvoiceView {
        match self {
            Self::Added(view)
            | Self::Settled(view)
            | Self::Accepted(view)
            | Self::Canceled(view) => view,
        }
    }
}
