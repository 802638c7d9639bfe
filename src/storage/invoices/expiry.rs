//! Queries and changes of the invoice expiry task. The queries for expired invoices use the index
//! `invoices_expiring`.

use rusqlite::{Connection, OptionalExtension, params};

use super::failed_back;
use super::records::invoice_record;
use crate::model::invoice::{InvoiceRecord, InvoiceState};
use crate::storage::sql::{bound, signed, unsigned};
use crate::storage::{Change, StorageError, Store, Subject};

/// Key in `meta` of the highest add index of a deleted invoice. Add indices are never reused, because
/// subscribers resume from them.
pub(super) const LAST_DELETED: &str = "last deleted add_index";

/// The index covers open invoices only, so each query must contain this state as a literal.
const OPEN: u8 = InvoiceState::Open.number();

impl Store {
    /// Returns at most `limit` open invoices that expired before `now` (seconds since 1970), in order
    /// of expiry.
    ///
    /// # Errors
    /// If the query fails.
    pub fn expired_invoices(
        &self,
        now: u64,
        limit: usize,
    ) -> Result<Vec<InvoiceRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached(&format!(
                "SELECT * FROM invoices WHERE state = {OPEN} AND expires_at < ?1
                 ORDER BY expires_at LIMIT ?2"
            ))?
            .query_map(params![bound(now), bound(limit as u64)], invoice_record)?
            .collect()
        })
    }

    /// Returns the earliest expiry of an open invoice, in seconds since 1970.
    ///
    /// # Errors
    /// If the query fails.
    pub fn next_expiry(&self) -> Result<Option<u64>, StorageError> {
        self.query(|db| {
            let earliest: Option<i64> = db
                .prepare_cached(&format!(
                    "SELECT expires_at FROM invoices WHERE state = {OPEN} AND expires_at >= 0
                     ORDER BY expires_at LIMIT 1"
                ))?
                .query_row([], |row| row.get(0))
                .optional()?;
            Ok(earliest.map(unsigned))
        })
    }

    /// Returns whether a set of this invoice was settled.
    ///
    /// # Errors
    /// If the query fails.
    pub fn has_settled_set(&self, add_index: u64) -> Result<bool, StorageError> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM amp_sets WHERE add_index = ?1 AND settle_index > 0)",
            )?
            .query_row([signed(add_index)], |row| row.get(0))
        })
    }
}

/// Removes the expiry of an invoice: that of a spontaneous payment, once it was paid.
pub struct NeverExpires {
    pub add_index: u64,
}

impl Change for NeverExpires {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("UPDATE invoices SET expires_at = NULL WHERE add_index = ?1")?
            .execute(params![signed(self.add_index)])
            .map(|_| ())
    }
}

/// Deletes an invoice that was never paid, with its canceled sets and HTLCs. The keys of these HTLCs
/// are kept for a restart (see `failed_back`).
pub struct DeleteInvoice {
    pub add_index: u64,
}

impl Change for DeleteInvoice {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        failed_back::keep_canceled(db, self.add_index)?;
        for table in ["htlcs", "amp_sets", "invoices"] {
            db.prepare_cached(&format!("DELETE FROM {table} WHERE add_index = ?1"))?
                .execute([signed(self.add_index)])?;
        }
        db.prepare_cached(
            "INSERT INTO meta (key, value) VALUES (?1, CAST(?2 AS TEXT)) ON CONFLICT (key)
             DO UPDATE SET value = CAST(MAX(CAST(value AS BIGINT), ?2) AS TEXT)",
        )?
        .execute(params![LAST_DELETED, signed(self.add_index)])
        .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Vital(format!("the deletion of invoice {}", self.add_index))
    }
}
