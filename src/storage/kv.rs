//! LDK's key-value store: channel manager, network graph, scorer and sweeper.

use lightning::io;
use lightning::util::persist::KVStoreSync;
use rusqlite::OptionalExtension;

use super::kv_write::{KvWrite, Name};
use super::{StorageError, Store, manager_log};

/// Writes are queued and return at once. The writer's order (see [`super`]) makes a value durable
/// with, or before, the manager that depends on it.
impl KVStoreSync for Store {
    /// # Errors
    /// `NotFound` if there is no such value.
    fn read(&self, primary: &str, secondary: &str, key: &str) -> io::Result<Vec<u8>> {
        let value = match Name::new(primary, secondary, key) == Name::manager() {
            true => self.manager(),
            false => self.value(primary, secondary, key),
        };
        value
            .map_err(io_error)?
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The manager's own write only requests a snapshot: the encoding that LDK passes may be older
    /// than a monitor that is written first.
    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> io::Result<()> {
        let name = Name::new(primary, secondary, key);
        if name == Name::manager() {
            self.manager_changed();
        } else {
            self.submit_value(KvWrite {
                name,
                value: Some(value),
            });
        }
        Ok(())
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, _lazy: bool) -> io::Result<()> {
        self.submit_value(KvWrite {
            name: Name::new(primary, secondary, key),
            value: None,
        });
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        self.flush();
        let query = "SELECT key FROM kv WHERE primary_namespace = ?1 AND secondary_namespace = ?2";
        self.query(|db| {
            db.prepare(query)?
                .query_map([primary, secondary], |row| row.get(0))?
                .collect()
        })
        .map_err(io_error)
    }
}

fn io_error(error: StorageError) -> io::Error {
    io::Error::new(io::ErrorKind::Other, error.to_string())
}

impl Store {
    /// Returns the channel manager of the last commit; `None` before the first.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if it is not what was written; otherwise if the query fails.
    pub fn manager(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.flush();
        let read = self.query(manager_log::read)?;
        read.map_err(|damage| StorageError::Damaged(damage.to_string()))
    }

    /// Returns a value of LDK's store; `None` if it was never written.
    ///
    /// # Errors
    /// If the query fails.
    pub fn value(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        self.flush();
        let query = "SELECT value FROM kv WHERE primary_namespace = ?1
                     AND secondary_namespace = ?2 AND key = ?3";
        self.query(|db| {
            db.query_row(query, [primary, secondary, key], |row| row.get(0))
                .optional()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replaces_lists_and_removes_values() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        KVStoreSync::write(&store, "a", "b", "c", vec![1]).unwrap();
        KVStoreSync::write(&store, "a", "b", "c", vec![2]).unwrap();
        KVStoreSync::write(&store, "a", "b", "d", vec![3]).unwrap();
        assert_eq!(KVStoreSync::read(&store, "a", "b", "c").unwrap(), [2]);
        KVStoreSync::remove(&store, "a", "b", "c", false).unwrap();
        assert_eq!(store.value("a", "b", "c").unwrap(), None);
        assert_eq!(KVStoreSync::list(&store, "a", "b").unwrap(), ["d"]);
        assert!(KVStoreSync::list(&store, "a", "x").unwrap().is_empty());
    }

    #[test]
    fn manager_write_by_ldk_is_not_stored() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let Name([primary, secondary, key]) = Name::manager();
        KVStoreSync::write(&store, &primary, &secondary, &key, vec![1]).unwrap();
        assert_eq!(store.manager().unwrap(), None);
    }
}
