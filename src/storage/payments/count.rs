//! The number of payments, which is kept up to date because counting them would read all.

use rusqlite::Connection;

use crate::storage::sql::unsigned;
use crate::storage::{StorageError, Store};

/// Adds new payments to the number.
///
/// # Errors
/// If the statement fails.
pub(super) fn add(db: &Connection, payments: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE payment_count SET payments = payments + ?1 WHERE id = 0")?
        .execute([payments])
        .map(drop)
}

/// Subtracts deleted payments from the number.
///
/// # Errors
/// If the statement fails.
pub(super) fn subtract(db: &Connection, payments: usize) -> rusqlite::Result<()> {
    // At most a page of them is deleted at a time.
    add(db, -i64::try_from(payments).unwrap_or(i64::MAX))
}

impl Store {
    /// Returns the number of payments.
    ///
    /// # Errors
    /// If the query fails.
    pub fn count_payments(&self) -> Result<u64, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT payments FROM payment_count WHERE id = 0")?
                .query_row([], |row| row.get(0).map(unsigned))
        })
    }
}
