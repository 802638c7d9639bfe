//! Deleting payments of the past, with all that is secret in them.
//!
//! A payment that is over never changes again: one that is tried again gets a new index and replaces
//! it. So what is to be deleted is read first, page by page, and deleted by its index: no commit is
//! long, and each leaves no payment without its attempts.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{AttemptState, PaymentState};
use crate::storage::sql::{bound, signed, unsigned};
use crate::storage::{Change, StorageError, Store, schema};

/// In `meta`: the highest numbers that were ever given, as far as their rows are gone. Clients go on
/// by a payment's index, and LDK knows attempts by their id: neither is given twice.
const LAST_PAYMENT: &str = "last deleted payment_index";
const LAST_ATTEMPT: &str = "last deleted attempt_id";

/// How long one try to empty the log may hold up the writer.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
const LOG_TRIES: u32 = 10;

/// Removes payments with their attempts; those in flight are left alone.
pub struct DeletePayments {
    pub payment_indices: Vec<u64>,
    /// Only attempts that failed; the payments stay.
    pub failed_attempts_only: bool,
}

impl Change for DeletePayments {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        keep_numbers(db)?;
        // SQLite would only mark the space as free, with the preimages and shares still in it.
        db.pragma_update(None, "secure_delete", true)?;
        let deleted = self.delete(db);
        db.pragma_update(None, "secure_delete", "fast")?;
        deleted
    }
}

impl DeletePayments {
    fn delete(&self, db: &Connection) -> rusqlite::Result<()> {
        let over = format!(
            "payment_index = ?1 AND state <> {}",
            PaymentState::InFlight.number()
        );
        let query = if self.failed_attempts_only {
            let failed = AttemptState::Failed.number();
            format!(
                "DELETE FROM attempts WHERE payment_index = ?1 AND state = {failed}
                 AND EXISTS (SELECT 1 FROM payments WHERE {over})"
            )
        } else {
            // Its attempts go with it: ON DELETE CASCADE.
            format!("DELETE FROM payments WHERE {over}")
        };
        let mut statement = db.prepare_cached(&query)?;
        self.payment_indices
            .iter()
            .try_for_each(|index| statement.execute([signed(*index)]).map(drop))
    }
}

/// To be called before a payment or an attempt is deleted.
pub(super) fn keep_numbers(db: &Connection) -> rusqlite::Result<()> {
    for (key, highest) in [
        (LAST_PAYMENT, "SELECT MAX(payment_index) FROM payments"),
        (LAST_ATTEMPT, "SELECT MAX(attempt_id) FROM attempts"),
    ] {
        let highest: Option<i64> = db
            .prepare_cached(highest)?
            .query_row([], |row| row.get(0))?;
        if let Some(highest) = highest {
            db.prepare_cached(
                "INSERT INTO meta (key, value) VALUES (?1, CAST(?2 AS TEXT)) ON CONFLICT (key)
                 DO UPDATE SET value = CAST(MAX(CAST(value AS BIGINT), ?2) AS TEXT)",
            )?
            .execute(params![key, highest])?;
        }
    }
    Ok(())
}

/// The highest payment index and the highest attempt id of what was deleted; 0 if nothing was.
pub(super) fn kept_numbers(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    let number = |key: &str| -> rusqlite::Result<u64> {
        let query = "SELECT CAST(value AS BIGINT) FROM meta WHERE key = ?1";
        let found = db.query_row(query, [key], |row| row.get(0)).optional()?;
        Ok(found.map_or(0, unsigned))
    };
    Ok((number(LAST_PAYMENT)?, number(LAST_ATTEMPT)?))
}

impl Store {
    /// The indices of payments that are over, of those after this index the first ones.
    ///
    /// # Errors
    /// If the query fails.
    pub fn ended_payments(
        &self,
        after: u64,
        failed_only: bool,
        limit: u64,
    ) -> Result<Vec<u64>, StorageError> {
        let state = if failed_only {
            format!("= {}", PaymentState::Failed.number())
        } else {
            format!("<> {}", PaymentState::InFlight.number())
        };
        self.query(|db| {
            db.prepare_cached(&format!(
                "SELECT payment_index FROM payments WHERE payment_index > ?1 AND state {state}
                 ORDER BY payment_index LIMIT ?2"
            ))?
            .query_map(params![bound(after), bound(limit)], |row| {
                row.get(0).map(unsigned)
            })?
            .collect()
        })
    }

    /// Brings all commits into the database file and empties the log beside it, in which deleted rows
    /// can still be read. Blocks while others read. `false`: it did not come to it, the log goes the
    /// next time that SQLite empties it.
    ///
    /// # Errors
    /// If the query fails.
    pub fn empty_log(&self) -> Result<bool, StorageError> {
        let sqlite = |source| StorageError::Sqlite {
            path: self.path().to_owned(),
            source,
        };
        let db = schema::connect(self.path()).map_err(sqlite)?;
        db.busy_timeout(LOG_PATIENCE).map_err(sqlite)?;
        for _ in 0..LOG_TRIES {
            let is_busy: bool = db
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
                .map_err(sqlite)?;
            if !is_busy {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
