//! Deletion of ended payments, including their secrets.
//!
//! An ended payment never changes: a retry gets a new index and replaces it. So the indices of the
//! payments to delete are read first, in pages, and each page is deleted in one commit. This keeps
//! commits short, and each commit deletes payments together with their attempts.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::count;
use crate::model::attempt::AttemptState;
use crate::model::payment::PaymentState;
use crate::storage::sql::{bound, signed, unsigned};
use crate::storage::{Change, StorageError, Store, schema};

/// Keys in `meta` of the highest payment index and attempt id at the last deletion. API clients resume
/// from payment indices, and LDK identifies attempts by id, so neither is ever reused.
const LAST_PAYMENT: &str = "last deleted payment_index";
const LAST_ATTEMPT: &str = "last deleted attempt_id";

/// Maximum time that one attempt to truncate the WAL may block the writer.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of attempts to truncate the WAL.
const CHECKPOINT_ATTEMPTS: u32 = 10;

/// Deletes payments with their attempts. Payments in flight are skipped.
pub struct DeletePayments {
    pub payment_indices: Vec<u64>,
    /// Delete only failed attempts and keep the payments.
    pub failed_attempts_only: bool,
}

impl Change for DeletePayments {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        save_highest_ids(db)?;
        // Otherwise SQLite only marks the space as free, and the preimages and shares stay on disk.
        db.pragma_update(None, "secure_delete", true)?;
        let deleted = self.delete(db);
        db.pragma_update(None, "secure_delete", "fast")?;
        deleted
    }
}

impl DeletePayments {
    fn delete(&self, db: &Connection) -> rusqlite::Result<()> {
        let ended = format!(
            "payment_index = ?1 AND state <> {}",
            PaymentState::InFlight.number()
        );
        let query = if self.failed_attempts_only {
            let failed = AttemptState::Failed.number();
            format!(
                "DELETE FROM attempts WHERE payment_index = ?1 AND state = {failed}
                 AND EXISTS (SELECT 1 FROM payments WHERE {ended})"
            )
        } else {
            // Also deletes the attempts: ON DELETE CASCADE.
            format!("DELETE FROM payments WHERE {ended}")
        };
        let mut statement = db.prepare_cached(&query)?;
        let mut deleted = 0;
        for index in &self.payment_indices {
            deleted += statement.execute([signed(*index)])?;
        }
        match self.failed_attempts_only {
            true => Ok(()),
            false => count::subtract(db, deleted),
        }
    }
}

/// Saves the highest payment index and attempt id. Must be called before rows are deleted.
pub(super) fn save_highest_ids(db: &Connection) -> rusqlite::Result<()> {
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

/// Returns the saved payment index and attempt id; 0 if nothing was ever deleted.
pub(super) fn saved_highest_ids(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    let number = |key: &str| -> rusqlite::Result<u64> {
        let query = "SELECT CAST(value AS BIGINT) FROM meta WHERE key = ?1";
        let found = db.query_row(query, [key], |row| row.get(0)).optional()?;
        Ok(found.map_or(0, unsigned))
    };
    Ok((number(LAST_PAYMENT)?, number(LAST_ATTEMPT)?))
}

impl Store {
    /// Returns the indices of the first `limit` ended payments after the index `after`.
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

    /// Checkpoints all commits into the database file and truncates the WAL, which can still contain
    /// deleted rows. Blocks while other connections read. Returns `false` if they did not finish in
    /// time; SQLite then overwrites the WAL at a later checkpoint.
    ///
    /// # Errors
    /// If the query fails.
    pub fn empty_log(&self) -> Result<bool, StorageError> {
        let sqlite = |source| StorageError::Sqlite {
            path: self.path().to_owned(),
            source,
        };
        let db = schema::connect(self.path()).map_err(sqlite)?;
        db.busy_timeout(CHECKPOINT_TIMEOUT).map_err(sqlite)?;
        for _ in 0..CHECKPOINT_ATTEMPTS {
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
