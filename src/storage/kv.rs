//! LDK's key-value store: channel manager, network graph, scorer and sweeper.

use lightning::io;
use lightning::util::persist::{
    CHANNEL_MANAGER_PERSISTENCE_KEY, CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
    CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE, KVStoreSync, NETWORK_GRAPH_PERSISTENCE_KEY,
    SCORER_PERSISTENCE_KEY,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Change, StorageError, Store, Subject};

/// The name of a value: two namespaces and a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name([String; 3]);

impl Name {
    fn new(primary: &str, secondary: &str, key: &str) -> Self {
        Self([primary, secondary, key].map(str::to_owned))
    }

    fn manager() -> Self {
        Self::new(
            CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
            CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE,
            CHANNEL_MANAGER_PERSISTENCE_KEY,
        )
    }
}

/// A value to write; `None` removes it.
pub(super) struct KvWrite {
    pub(super) name: Name,
    value: Option<Vec<u8>>,
}

impl KvWrite {
    /// The channel manager to load at the next start.
    pub(super) fn manager(snapshot: Vec<u8>) -> Self {
        Self {
            name: Name::manager(),
            value: Some(snapshot),
        }
    }

    /// The value's size in bytes.
    pub(super) fn len(&self) -> usize {
        self.value.as_ref().map_or(0, Vec::len)
    }
}

impl Change for KvWrite {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let Name([primary, secondary, key]) = &self.name;
        match &self.value {
            Some(value) => db
                .prepare_cached("INSERT OR REPLACE INTO kv VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![primary, secondary, key, value]),
            None => db
                .prepare_cached(
                    "DELETE FROM kv WHERE primary_namespace = ?1
                     AND secondary_namespace = ?2 AND key = ?3",
                )?
                .execute(params![primary, secondary, key]),
        }
        .map(|_| ())
    }

    /// The graph can be downloaded and the scores learned again. Everything else may affect funds.
    fn subject(&self) -> Subject {
        let Name([primary, secondary, key]) = &self.name;
        let row = format!("LDK value {primary}/{secondary}/{key}");
        match key.as_str() {
            NETWORK_GRAPH_PERSISTENCE_KEY | SCORER_PERSISTENCE_KEY => Subject::Informative(row),
            _ => Subject::Vital(row),
        }
    }
}

/// Writes are queued and return at once. The writer's order (see [`super`]) makes a value durable
/// with, or before, the manager that depends on it.
impl KVStoreSync for Store {
    /// # Errors
    /// `NotFound` if there is no such value.
    fn read(&self, primary: &str, secondary: &str, key: &str) -> io::Result<Vec<u8>> {
        let value = self.value(primary, secondary, key).map_err(io_error)?;
        value.ok_or_else(|| io::ErrorKind::NotFound.into())
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
    /// If the query fails.
    pub fn manager(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let Name([primary, secondary, key]) = Name::manager();
        self.value(&primary, &secondary, &key)
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
