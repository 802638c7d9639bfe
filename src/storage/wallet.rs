//! The on-chain wallet's change sets, stored in the order they were appended.

use rusqlite::Connection;

use super::{Change, StorageError, Store};

/// Appends a change set.
pub struct AppendWalletChange(pub Vec<u8>);

impl Change for AppendWalletChange {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT INTO wallet_changes (bytes) VALUES (?1)")?
            .execute([&self.0])
            .map(|_| ())
    }
}

/// Replaces all change sets with one that contains them all.
pub struct ReplaceWalletChanges(pub Vec<u8>);

impl Change for ReplaceWalletChanges {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM wallet_changes")?
            .execute([])?;
        AppendWalletChange(self.0.clone()).apply(db)
    }
}

impl Store {
    /// Returns the wallet's change sets in the order in which they were appended.
    ///
    /// # Errors
    /// If the query fails.
    pub fn wallet_changes(&self) -> Result<Vec<Vec<u8>>, StorageError> {
        self.query(|db| {
            db.prepare("SELECT bytes FROM wallet_changes ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }
}
