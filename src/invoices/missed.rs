//! What a subscriber missed while it was away, read page by page: it may be a million payments.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::registry::unpaid;
use super::subscribe::Told;
use super::{InvoiceEvent, InvoiceView};
use crate::storage::invoices::{InvoicePage, InvoiceRecord, Settlement};
use crate::storage::{StorageError, Store};

/// Events that are read at a time.
const PAGE: u64 = 256;

/// First the invoices that were added, then what was settled, each up to an index.
pub(super) struct Missed {
    store: Arc<Store>,
    /// Later ones come live. `None`: all is told.
    until: Option<Told>,
    page: VecDeque<InvoiceEvent>,
}

impl Missed {
    /// The two ends are of one moment, so all that is settled up to `until` is also added up to it:
    /// nobody hears of a settlement before its invoice.
    pub(super) fn new(store: Arc<Store>, until: Told) -> Self {
        Self {
            store,
            until: Some(until),
            page: VecDeque::new(),
        }
    }

    /// The next event after what was `told`; `None` once all is told.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) async fn next(&mut self, told: Told) -> Result<Option<InvoiceEvent>, StorageError> {
        if let (true, Some(until)) = (self.page.is_empty(), self.until) {
            let store = self.store.clone();
            let page = tokio::task::spawn_blocking(move || read(&store, told, until)).await;
            self.page = page.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The node stops.
                Err(_) => Ok(VecDeque::new()),
            })?;
            if self.page.is_empty() {
                self.until = None;
            }
        }
        Ok(self.page.pop_front())
    }
}

fn read(store: &Store, told: Told, until: Told) -> Result<VecDeque<InvoiceEvent>, StorageError> {
    let added = added(store, told.added, until.added)?;
    if added.is_empty() {
        settled(store, told.settled, until.settled)
    } else {
        Ok(added)
    }
}

fn added(store: &Store, after: u64, until: u64) -> Result<VecDeque<InvoiceEvent>, StorageError> {
    if after >= until {
        return Ok(VecDeque::new());
    }
    let records = store.invoices(&InvoicePage {
        index_offset: after,
        limit: PAGE,
        ..Default::default()
    })?;
    let records = records.into_iter().filter(|one| one.add_index <= until);
    Ok(records.map(unpaid).map(InvoiceEvent::Added).collect())
}

fn settled(store: &Store, after: u64, until: u64) -> Result<VecDeque<InvoiceEvent>, StorageError> {
    if after >= until {
        return Ok(VecDeque::new());
    }
    let found = store.settlements(after, until, PAGE)?;
    let mut known = HashMap::new();
    let views = found.iter().map(|one| view(store, one, &mut known));
    views.map(|view| Ok(InvoiceEvent::Settled(view?))).collect()
}

/// The invoice with what this settlement brought: of an AMP invoice one set, and what its sets had
/// paid together by then. Whose sum is `known` from the settlement before needs not be added up again.
fn view(
    store: &Store,
    settlement: &Settlement,
    known: &mut HashMap<u64, InvoiceRecord>,
) -> Result<InvoiceView, StorageError> {
    let add_index = settlement.add_index;
    let damaged = || StorageError::Damaged(format!("invoice {add_index} is missing"));
    let Some(set_id) = settlement.set_id else {
        return Ok(InvoiceView {
            record: store.invoice(add_index)?.ok_or_else(damaged)?,
            htlcs: store.htlcs_of_invoice(add_index)?,
            sets: Vec::new(),
        });
    };
    let set = store.set(&set_id)?.ok_or_else(damaged)?;
    let record = match known.remove(&add_index) {
        Some(before) => InvoiceRecord {
            amt_paid_msat: before.amt_paid_msat.saturating_add(set.amt_paid_msat),
            ..before
        },
        None => {
            let found = store.invoice_at(add_index, settlement.settle_index)?;
            found.ok_or_else(damaged)?
        }
    };
    known.insert(add_index, record.clone());
    Ok(InvoiceView {
        record,
        htlcs: store.htlcs_of_set(&set_id)?,
        sets: vec![set],
    })
}
