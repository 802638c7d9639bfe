//! Channels of the past: a list that is written once and read whole, so its content is one JSON text;
//! and the closes that were agreed on and are not buried in the chain yet.

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use bitcoin::{Transaction, Txid};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sql::{array, damaged, json, optional_array, parse, signed};
use super::{Change, StorageError, Store, Subject};

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

    fn subject(&self) -> Subject {
        Subject::Informative(format!(
            "the record of closed channel {}",
            self.channel_id.as_hex()
        ))
    }
}

/// A closing transaction that both sides have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedCloseRow {
    pub channel_id: [u8; 32],
    pub transaction: Transaction,
    /// The owner wants our commitment in its place.
    pub forced: bool,
    /// The transaction that spends the channel, this or another one, and the height of its block.
    pub confirmed: Option<(Txid, u32)>,
}

/// Adds the row, or writes over that of the channel.
pub struct PutAgreedClose(pub AgreedCloseRow);

impl Change for PutAgreedClose {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let row = &self.0;
        let (txid, height) = row.confirmed.unzip();
        db.prepare_cached("INSERT OR REPLACE INTO agreed_closes VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                row.channel_id,
                serialize(&row.transaction),
                row.forced,
                txid.map(Txid::to_byte_array),
                height,
            ])
            .map(|_| ())
    }
}

/// The close of this channel is buried.
pub struct DropAgreedClose(pub [u8; 32]);

impl Change for DropAgreedClose {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM agreed_closes WHERE channel_id = ?1")?
            .execute([self.0])
            .map(|_| ())
    }
}

fn agreed_close(row: &rusqlite::Row<'_>) -> rusqlite::Result<AgreedCloseRow> {
    let transaction: Vec<u8> = row.get("raw_transaction")?;
    let transaction = deserialize(&transaction)
        .map_err(|error| damaged(format!("column raw_transaction: {error}")))?;
    let txid = optional_array(row, "confirmed_txid")?.map(Txid::from_byte_array);
    Ok(AgreedCloseRow {
        channel_id: array(row, "channel_id")?,
        transaction,
        forced: row.get("forced")?,
        confirmed: txid.zip(row.get("confirmed_height")?),
    })
}

impl Store {
    /// All closes that were agreed on and are not buried.
    ///
    /// # Errors
    /// What SQLite says, or a transaction that cannot be read.
    pub fn agreed_closes(&self) -> Result<Vec<AgreedCloseRow>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT * FROM agreed_closes ORDER BY channel_id")?
                .query_map([], agreed_close)?
                .collect()
        })
    }

    /// All closed channels, oldest first. A record that cannot be read is left out, with an error in the
    /// log.
    ///
    /// # Errors
    /// If the query fails.
    pub fn closed_channels<T: DeserializeOwned>(&self) -> Result<Vec<T>, StorageError> {
        self.query(|db| {
            let texts: Vec<String> = db
                .prepare_cached(
                    "SELECT record FROM closed_channels ORDER BY closed_at, channel_id",
                )?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok(texts.iter().filter_map(|text| readable(text)).collect())
        })
    }
}

fn readable<T: DeserializeOwned>(text: &str) -> Option<T> {
    parse(text)
        .inspect_err(|error| {
            tracing::error!("skipping an unreadable closed channel record: {error}")
        })
        .ok()
}
