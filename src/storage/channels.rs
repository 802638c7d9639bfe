//! Channels of the past.
//!
//! A list that is written once and read whole, so its content is one JSON text.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sql::{json, parse, signed};
use super::{Change, StorageError, Store};

/// What becomes of the stored record of a closed channel; `None` leaves it as it is.
pub type Merge<T> = Box<dyn Fn(Option<T>) -> Option<T> + Send>;

/// A channel is no more, or more is known of its end.
pub struct MergeClosedChannel<T> {
    pub channel_id: [u8; 32],
    /// Seconds since 1970; the first one stays.
    pub closed_at: u64,
    /// From the record that is stored, if there is one, to the one to store.
    pub merge: Merge<T>,
}

impl<T: Serialize + DeserializeOwned + Send> Change for MergeClosedChannel<T> {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let stored: Option<String> = db
            .prepare_cached("SELECT record FROM closed_channels WHERE channel_id = ?1")?
            .query_row([self.channel_id], |row| row.get(0))
            .optional()?;
        let stored = stored.map(|text| parse(&text)).transpose()?;
        let Some(merged) = (self.merge)(stored) else {
            return Ok(());
        };
        db.prepare_cached(
            "INSERT INTO closed_channels VALUES (?1, ?2, ?3)
             ON CONFLICT (channel_id) DO UPDATE SET record = ?3",
        )?
        .execute(params![
            self.channel_id,
            signed(self.closed_at),
            json(&merged)?
        ])
        .map(|_| ())
    }
}

impl Store {
    /// All closed channels, oldest first.
    ///
    /// # Errors
    /// What SQLite says, or a record that is not what [`MergeClosedChannel`] wrote.
    pub fn closed_channels<T: DeserializeOwned>(&self) -> Result<Vec<T>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT record FROM closed_channels ORDER BY closed_at, channel_id")?
                .query_map([], |row| parse(&row.get::<_, String>(0)?))?
                .collect()
        })
    }
}
