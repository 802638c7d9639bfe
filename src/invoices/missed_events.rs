//! Events that a subscriber missed while it was disconnected, read page by page as there may be
//! millions.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::seen::Seen;
use super::{InvoiceEvent, InvoiceView};
use crate::model::invoice::{
    HtlcSelection, InvoicePage, InvoiceRecord, InvoiceRef, InvoiceState, Settlement,
};
use crate::storage::{StorageError, Store};

/// Events read per page.
const PAGE: u64 = 256;

/// Reads the added invoices, then the settlements, each up to an index.
///
/// Both as in lnd: an added invoice is sent in its current state, and held or canceled ones are
/// left out. A subscriber who asks for both therefore gets an invoice that was settled in between
/// twice.
pub(super) struct MissedEvents {
    store: Arc<Store>,
    /// The indices read so far.
    at: Seen,
    /// The last indices to read; later events come from the live stream.
    until: Seen,
    page: VecDeque<InvoiceEvent>,
}

impl MissedEvents {
    /// Both indices of `until` are from one snapshot, so an invoice settled up to `until` was also
    /// added up to it: subscribers never hear of a settlement before its invoice.
    pub(super) fn new(store: Arc<Store>, from: Seen, until: Seen) -> Self {
        Self {
            store,
            at: from,
            until,
            page: VecDeque::new(),
        }
    }

    /// Returns the next event; `None` after the last one.
    ///
    /// # Errors
    /// If the database cannot be read. Nothing is lost: the next call tries again.
    pub(super) async fn next(&mut self) -> Result<Option<InvoiceEvent>, StorageError> {
        while self.page.is_empty() && !self.at.has_reached(self.until) {
            let (store, at, until) = (self.store.clone(), self.at, self.until);
            let read = tokio::task::spawn_blocking(move || read(&store, at, until)).await;
            (self.page, self.at) = read.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The node is shutting down.
                Err(_) => Ok((VecDeque::new(), until)),
            })?;
        }
        Ok(self.page.pop_front())
    }
}

/// Reads events after `at` and returns them with the indices reached.
fn read(
    store: &Store,
    at: Seen,
    until: Seen,
) -> Result<(VecDeque<InvoiceEvent>, Seen), StorageError> {
    if at.added < until.added {
        let (events, added) = added(store, at.added, until.added)?;
        Ok((events, Seen { added, ..at }))
    } else {
        let (events, settled) = settled(store, at.settled, until.settled)?;
        Ok((events, Seen { settled, ..at }))
    }
}

/// Reads the invoices after this add index and returns them with the last add index seen.
fn added(
    store: &Store,
    after: u64,
    until: u64,
) -> Result<(VecDeque<InvoiceEvent>, u64), StorageError> {
    let mut records = store.invoices(&InvoicePage {
        index_offset: after,
        limit: PAGE,
        ..Default::default()
    })?;
    records.retain(|one| one.add_index <= until);
    let last = records.last().map_or(until, |last| last.add_index);
    let mut events = VecDeque::new();
    for record in records {
        let by = InvoiceRef::Addr(record.payment_addr);
        // Invoices deleted in the meantime are left out.
        if let Some((record, htlcs, sets)) = store.find_invoice(&by, HtlcSelection::All)? {
            let view = InvoiceView {
                record,
                htlcs,
                sets,
            };
            if is_open_or_paid(&view) {
                events.push_back(InvoiceEvent::Added(view));
            }
        }
    }
    Ok((events, last))
}

fn is_open_or_paid(view: &InvoiceView) -> bool {
    view.is_paid() || view.record.state == InvoiceState::Open
}

/// Reads the settlements after this settle index and returns them with the last settle index seen.
fn settled(
    store: &Store,
    after: u64,
    until: u64,
) -> Result<(VecDeque<InvoiceEvent>, u64), StorageError> {
    let found = store.settlements(after, until, PAGE)?;
    let last = found.last().map_or(until, |last| last.settle_index);
    let mut known = HashMap::new();
    let events = found.iter().map(|one| {
        let view = view(store, one, &mut known)?;
        Ok(InvoiceEvent::Settled(view))
    });
    Ok((events.collect::<Result<_, StorageError>>()?, last))
}

/// The invoice in its current state with the HTLCs of this settlement (of an AMP invoice: one set).
/// An invoice in `known` is not read again.
fn view(
    store: &Store,
    settlement: &Settlement,
    known: &mut HashMap<u64, InvoiceRecord>,
) -> Result<InvoiceView, StorageError> {
    let add_index = settlement.add_index;
    let damaged = || StorageError::Damaged(format!("invoice {add_index} is missing"));
    let record = match known.get(&add_index) {
        Some(record) => record.clone(),
        None => store.invoice(add_index)?.ok_or_else(damaged)?,
    };
    known.insert(add_index, record.clone());
    let Some(set_id) = settlement.set_id else {
        return Ok(InvoiceView {
            record,
            htlcs: store.htlcs_of_invoice(add_index)?,
            sets: Vec::new(),
        });
    };
    Ok(InvoiceView {
        record,
        htlcs: store.htlcs_of_set(&set_id)?,
        sets: vec![store.set(&set_id)?.ok_or_else(damaged)?],
    })
}
