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
            let (htlcs, sets) = match (selection, by) {
                (HtlcSelection::SetOnly, InvoiceRef::SetId(id)) => (
                    htlcs(&snapshot, "WHERE set_id = ?1", [id.as_bytes()])?,
                    sets(&snapshot, "WHERE set_id = ?1", [id.as_bytes()])?,
                ),
                (HtlcSelection::None, _) => (Vec::new(), sets_of_invoice(&snapshot, index)?),
                (HtlcSelection::All | HtlcSelection::SetOnly, _) if invoice.kind.is_amp() => (
                    htlcs_of_amp(&snapshot, index)?,
                    sets_of_invoice(&snapshot, index)?,
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

/// Returns all held and settled HTLCs and the newest canceled ones.
fn htlcs_of_amp(db: &Connection, index: [i64; 1]) -> rusqlite::Result<Vec<HtlcRecord>> {
    let kept = format!("WHERE add_index = ?1 AND state IN ({HELD}, {SETTLED})");
    let mut found = htlcs(db, &kept, index)?;
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

/// Returns the held and the newest canceled sets, followed by the settled ones in order of
/// settlement.
fn sets_of_invoice(db: &Connection, index: [i64; 1]) -> rusqlite::Result<Vec<SetRecord>> {
    // The plus keeps SQLite from using the index on settle_index, which would read all unsettled sets.
    let unsettled = format!(
        "WHERE +settle_index IS NULL AND (set_id IN (
             SELECT set_id FROM htlcs WHERE add_index = ?1 AND state = {HELD})
         OR set_id IN (
             SELECT set_id FROM htlcs WHERE add_index = ?1 AND state = {CANCELED}
             ORDER BY resolved_at DESC LIMIT {RECENT_CANCELED}))"
    );
    let mut found = sets(db, &unsettled, index)?;
    found.extend(sets(
        db,
        "WHERE add_index = ?1 AND settle_index > 0",
        index,
    )?);
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
