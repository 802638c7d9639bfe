//! What happened to channels and through them: closed channels, forwarded payments.
//!
//! Both are lists that are written once and read whole, so their content is one JSON text.

use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sql::{json, parse, signed};
use super::{Change, StorageError, Store};

/// A channel that is no more.
pub struct PutClosedChannel<T> {
    pub channel_id: [u8; 32],
    /// Seconds since 1970.
    pub closed_at: u64,
    /// What the channels room knows about it.
    pub record: T,
}

impl<T: Serialize + Send> Change for PutClosedChannel<T> {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT OR REPLACE INTO closed_channels VALUES (?1, ?2, ?3)")?
            .execute(params![
                self.channel_id,
                signed(self.closed_at),
                json(&self.record)?
            ])
            .map(|_| ())
    }
}

/// A payment that went through this node.
pub struct AddForward<T> {
    /// Seconds since 1970.
    pub forwarded_at: u64,
    /// What the channels room knows about it.
    pub record: T,
}

impl<T: Serialize + Send> Change for AddForward<T> {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT INTO forwards (forwarded_at, record) VALUES (?1, ?2)")?
            .execute(params![signed(self.forwarded_at), json(&self.record)?])
            .map(|_| ())
    }
}

impl Store {
    /// All closed channels, oldest first.
    ///
    /// # Errors
    /// What SQLite says, or a record that is not what [`PutClosedChannel`] wrote.
    pub fn closed_channels<T: DeserializeOwned>(&self) -> Result<Vec<T>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT record FROM closed_channels ORDER BY closed_at, channel_id")?
                .query_map([], |row| parse(&row.get::<_, String>(0)?))?
                .collect()
        })
    }
}
