//! A pending write to LDK's key-value store.

use lightning::util::persist::{
    CHANNEL_MANAGER_PERSISTENCE_KEY, CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
    CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE, NETWORK_GRAPH_PERSISTENCE_KEY,
    SCORER_PERSISTENCE_KEY,
};
use rusqlite::{Connection, params};

use super::{Change, Subject};

/// The name of a value: two namespaces and a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name(pub(super) [String; 3]);

impl Name {
    pub(super) fn new(primary: &str, secondary: &str, key: &str) -> Self {
        Self([primary, secondary, key].map(str::to_owned))
    }

    pub(super) fn manager() -> Self {
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
    pub(super) value: Option<Vec<u8>>,
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
