//! The last events that a subscriber of all invoices has seen.

use super::event::InvoiceEvent;
use crate::storage::{StorageError, Store};

/// The last add index and the last settle index that a subscriber has seen.
///
/// Both increase in the order of commits and of events, so later ones are always higher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) added: u64,
    pub(super) settled: u64,
}

impl Seen {
    /// The last indices on disk.
    pub(super) fn now(store: &Store) -> Result<Self, StorageError> {
        let (added, settled) = store.invoice_indices()?;
        Ok(Self { added, settled })
    }

    /// Returns whether nothing is left up to `other`.
    pub(super) fn has_reached(self, other: Self) -> bool {
        self.added >= other.added && self.settled >= other.settled
    }

    pub(super) fn max(self, other: Self) -> Self {
        Self {
            added: self.added.max(other.added),
            settled: self.settled.max(other.settled),
        }
    }

    /// Returns whether the event is new to a subscriber of all invoices, and marks it as seen.
    pub(super) fn is_news(&mut self, event: &InvoiceEvent) -> bool {
        let (last, index) = match event {
            InvoiceEvent::Added(view) => (&mut self.added, view.record.add_index),
            InvoiceEvent::Settled(view) => {
                let of_set = view.sets.first().and_then(|set| set.settle_index);
                let index = of_set.or(view.record.settle_index).unwrap_or_default();
                (&mut self.settled, index)
            }
            InvoiceEvent::Accepted(_) | InvoiceEvent::Canceled(_) => return false,
        };
        let is_news = index > *last;
        *last = index.max(*last);
        is_news
    }
}
