//! Root keys that sign macaroons.

use rusqlite::{Connection, params};

use super::sql::{array, signed, unsigned};
use super::{Change, StorageError, Store};
use lnd_macaroon::RootKey;

/// Stores a new root key. An existing key is kept, because macaroons signed with it are in use.
pub struct PutRootKey {
    pub id: u64,
    pub key: RootKey,
}

/// Deletes a root key, which revokes the macaroons signed with it.
pub struct DeleteRootKey {
    pub id: u64,
}

impl Change for PutRootKey {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT OR IGNORE INTO macaroon_root_keys VALUES (?1, ?2)")?
            .execute(params![signed(self.id), self.key.as_bytes()])
            .map(|_| ())
    }
}

impl Change for DeleteRootKey {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM macaroon_root_keys WHERE id = ?1")?
            .execute([signed(self.id)])
            .map(|_| ())
    }
}

impl Store {
    /// Returns all root keys with their ids.
    ///
    /// # Errors
    /// If the query fails.
    pub fn macaroon_root_keys(&self) -> Result<Vec<(u64, RootKey)>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT id, key FROM macaroon_root_keys")?
                .query_map([], |row| {
                    let key = RootKey::from_bytes(array(row, "key")?);
                    Ok((unsigned(row.get("id")?), key))
                })?
                .collect()
        })
    }
}
