//! Lookup of one invoice with its HTLCs and sets, as a consistent snapshot.

use rusqlite::{Connection, OptionalExtension, Params};

use super::records::{htlc_record, invoice_record, set_record};
use crate::model::htlc::{HtlcRecord, HtlcState, SetRecord};
use crate::model::invoice::{FullInvoice, HtlcSelection, InvoiceRecord, InvoiceRef};
use crate::storage::sql::{bound, signed, unsigned};
use crate::storage::{StorageError, Store};

/// Maximum number of canceled HTLCs returned for an AMP invoice, newest first. Unknown payers can
/// cause any number of them at no cost.
const RECENT_CANCELED: u8 = 50;

/// Maximum number of settled sets returned for an AMP invoice, newest first: a static invoice may have been
/// paid any number of times.
const RECENT_SETTLED: u16 = 1_000;

/// The HTLC states as literals for queries.
const HELD: u8 = HtlcState::Accepted.number();
const SETTLED: u8 = HtlcState::Settled.number();
const CANCELED: u8 = HtlcState::Canceled.number();

impl Store {
    /// Returns a consistent snapshot of the invoice and the selected HTLCs and sets.
    ///
    /// # Errors
    /// If the query fails.
    pub fn find_invoice(
        &self,
        by: &InvoiceRef,
        selection: HtlcSelection,
    ) -> Result<Option<FullInvoice>, StorageError> {
        self.query(|db| {
            let snapshot = db.unchecked_transaction()?;
            let Some(invoice) = find(&snapshot, by)? else {
                return Ok(None);
            };
            let index = [signed(invoice.add_index)];
            let shown = (index[0], named_set(&snapshot, by)?);
            let (htlcs, sets) = match (selection, by) {
                (HtlcSelection::SetOnly, InvoiceRef::SetId(id)) => (
                    htlcs(&snapshot, "WHERE set_id = ?1", [id.as_bytes()])?,
                    sets(&snapshot, "WHERE set_id = ?1", [id.as_bytes()])?,
                ),
                (HtlcSelection::None, _) => (Vec::new(), sets_of_invoice(&snapshot, shown)?),
                (HtlcSelection::All | HtlcSelection::SetOnly, _) if invoice.kind.is_amp() => (
                    htlcs_of_amp(&snapshot, shown)?,
                    sets_of_invoice(&snapshot, shown)?,
                ),
                (HtlcSelection::All | HtlcSelection::SetOnly, _) => {
                    (htlcs(&snapshot, "WHERE add_index = ?1", index)?, Vec::new())
                }
            };
            Ok(Some((invoice, htlcs, sets)))
        })
    }

    /// Returns the invoice without its HTLCs and sets.
    ///
    /// # Errors
    /// If the query fails.
    pub fn invoice_by(&self, by: &InvoiceRef) -> Result<Option<InvoiceRecord>, StorageError> {
        self.query(|db| find(db, by))
    }

    /// Returns the invoice with the amount paid up to and including the settlement with this index.
    ///
    /// # Errors
    /// If the query fails.
    pub fn invoice_at(
        &self,
        add_index: u64,
        settle_index: u64,
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT *, COALESCE((SELECT SUM(amt_paid_msat) FROM amp_sets
                 WHERE add_index = ?1 AND settle_index > ?2), 0) AS paid_later
                 FROM invoices WHERE add_index = ?1",
            )?
            .query_row([signed(add_index), bound(settle_index)], |row| {
                let mut invoice = invoice_record(row)?;
                let later = unsigned(row.get("paid_later")?);
                invoice.amt_paid_msat = invoice.amt_paid_msat.saturating_sub(later);
                Ok(invoice)
            })
            .optional()
        })
    }
}

pub(super) fn find(db: &Connection, by: &InvoiceRef) -> rusqlite::Result<Option<InvoiceRecord>> {
    match by {
        InvoiceRef::Hash(hash) => match one(db, "WHERE payment_hash = ?1", &hash.0)? {
            Some(invoice) => Ok(Some(invoice)),
            None => one(
                db,
                "WHERE add_index = (SELECT add_index FROM htlcs WHERE payment_hash = ?1 LIMIT 1)",
                &hash.0,
            ),
        },
        InvoiceRef::Addr(addr) => one(db, "WHERE payment_addr = ?1", addr.as_bytes()),
        InvoiceRef::SetId(id) => one(
            db,
            "WHERE add_index = (SELECT add_index FROM amp_sets WHERE set_id = ?1)",
            id.as_bytes(),
        ),
    }
}

fn one(
    db: &Connection,
    condition: &str,
    key: &[u8; 32],
) -> rusqlite::Result<Option<InvoiceRecord>> {
    db.prepare_cached(&format!("SELECT * FROM invoices {condition}"))?
        .query_row([key], invoice_record)
        .optional()
}

fn htlcs(db: &Connection, condition: &str, key: impl Params) -> rusqlite::Result<Vec<HtlcRecord>> {
    let query = format!("SELECT * FROM htlcs {condition} ORDER BY htlc_id, channel_id");
    db.prepare_cached(&query)?
        .query_map(key, htlc_record)?
        .collect()
}

/// The add index of an AMP invoice, and the id of the set that it was looked up by.
type Shown = (i64, Option<[u8; 32]>);

/// Returns the set that an invoice is looked up by, directly or by the hash of one of its HTLCs.
fn named_set(db: &Connection, by: &InvoiceRef) -> rusqlite::Result<Option<[u8; 32]>> {
    match by {
        InvoiceRef::SetId(id) => Ok(Some(*id.as_bytes())),
        InvoiceRef::Addr(_) => Ok(None),
        InvoiceRef::Hash(hash) => {
            let query = "SELECT set_id FROM htlcs WHERE payment_hash = ?1 LIMIT 1";
            let mut query = db.prepare_cached(query)?;
            let found = query.query_row([hash.0], |row| row.get(0)).optional()?;
            Ok(found.flatten())
        }
    }
}

/// The condition for the sets that a lookup shows of those that are settled: the newest and the named one.
fn is_shown() -> String {
    format!(
        "(set_id IN (SELECT set_id FROM amp_sets WHERE add_index = ?1 AND settle_index > 0
              ORDER BY settle_index DESC LIMIT {RECENT_SETTLED})
          OR (set_id = ?2 AND +add_index = ?1))"
    )
}

/// Returns all held HTLCs, those of the settled sets that are shown, and the newest canceled ones.
fn htlcs_of_amp(db: &Connection, shown: Shown) -> rusqlite::Result<Vec<HtlcRecord>> {
    let index = [shown.0];
    let held = format!("WHERE add_index = ?1 AND state = {HELD}");
    let mut found = htlcs(db, &held, index)?;
    // The plus keeps SQLite from using an index of the states, which would read all settled HTLCs.
    let settled = format!("WHERE +state = {SETTLED} AND {}", is_shown());
    found.extend(htlcs(db, &settled, shown)?);
    let canceled = format!(
        "SELECT * FROM htlcs WHERE add_index = ?1 AND state = {CANCELED}
         ORDER BY resolved_at DESC LIMIT {RECENT_CANCELED}"
    );
    let mut canceled = db.prepare_cached(&canceled)?;
    for row in canceled.query_map(index, htlc_record)? {
        found.push(row?);
    }
    found.sort_by_key(|row| (row.htlc_id, row.channel_id));
    Ok(found)
}

/// Returns the held and the newest canceled sets, followed by the settled ones that are shown, in order of
/// settlement.
fn sets_of_invoice(db: &Connection, shown: Shown) -> rusqlite::Result<Vec<SetRecord>> {
    // The plus keeps SQLite from using the index on settle_index, which would read all unsettled sets.
    let unsettled = format!(
        "WHERE +settle_index IS NULL AND (set_id IN (
             SELECT set_id FROM htlcs WHERE add_index = ?1 AND state = {HELD})
         OR set_id IN (
             SELECT set_id FROM htlcs WHERE add_index = ?1 AND state = {CANCELED}
             ORDER BY resolved_at DESC LIMIT {RECENT_CANCELED}))"
    );
    let mut found = sets(db, &unsettled, [shown.0])?;
    let settled = format!("WHERE +settle_index > 0 AND {}", is_shown());
    found.extend(sets(db, &settled, shown)?);
    Ok(found)
}

fn sets(db: &Connection, condition: &str, key: impl Params) -> rusqlite::Result<Vec<SetRecord>> {
    let query = format!("SELECT * FROM amp_sets {condition} ORDER BY settle_index");
    db.prepare_cached(&query)?
        .query_map(key, set_record)?
        .collect()
}

#[cfg(test)]
mod tests;
