//! Closed channels, each a JSON record that is written once and listed as a whole, and cooperative
//! closes whose transactions are not yet buried in the chain.

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Transaction, Txid};
use lightning::ln::types::ChannelId;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sql::{array, damaged, json, optional_array, parse, signed};
use super::{Change, StorageError, Store, Subject};

/// Maps the stored record of a closed channel to a new one; `None` leaves it unchanged.
pub type Merge<T> = Box<dyn Fn(Option<T>) -> Option<T> + Send>;

/// Records that a channel was closed, or updates the record with new details of the close.
pub struct MergeClosedChannel<T> {
    pub channel_id: ChannelId,
    /// Seconds since 1970; the first value written is kept.
    pub closed_at: u64,
    /// Computes the record to store from the stored record, if any.
    pub merge: Merge<T>,
}

impl<T: Serialize + DeserializeOwned + Send> Change for MergeClosedChannel<T> {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let stored: Option<String> = db
            .prepare_cached("SELECT record FROM closed_channels WHERE channel_id = ?1")?
            .query_row([self.channel_id.0], |row| row.get(0))
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
            self.channel_id.0,
            signed(self.closed_at),
            json(&merged)?
        ])
        .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!("the record of closed channel {}", self.channel_id))
    }
}

/// A closing transaction that both sides have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedCloseRow {
    pub channel_id: ChannelId,
    pub transaction: Transaction,
    /// The operator asked for our commitment transaction instead.
    pub forced: bool,
    /// The transaction that spends the funding output, this or another one, and its block height.
    pub confirmed: Option<(Txid, u32)>,
}

/// Inserts the channel's row or replaces it.
pub struct PutAgreedClose(pub AgreedCloseRow);

impl Change for PutAgreedClose {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let row = &self.0;
        let (txid, height) = row.confirmed.unzip();
        db.prepare_cached("INSERT OR REPLACE INTO agreed_closes VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                row.channel_id.0,
                serialize(&row.transaction),
                row.forced,
                txid.map(Txid::to_byte_array),
                height,
            ])
            .map(|_| ())
    }
}

/// Removes the cooperative close of this channel, which is buried.
pub struct DropAgreedClose(pub ChannelId);

impl Change for DropAgreedClose {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM agreed_closes WHERE channel_id = ?1")?
            .execute([self.0.0])
            .map(|_| ())
    }
}

fn agreed_close(row: &rusqlite::Row<'_>) -> rusqlite::Result<AgreedCloseRow> {
    let transaction: Vec<u8> = row.get("raw_transaction")?;
    let transaction = deserialize(&transaction)
        .map_err(|error| damaged(format!("column raw_transaction: {error}")))?;
    let txid = optional_array(row, "confirmed_txid")?.map(Txid::from_byte_array);
    Ok(AgreedCloseRow {
        channel_id: ChannelId(array(row, "channel_id")?),
        transaction,
        forced: row.get("forced")?,
        confirmed: txid.zip(row.get("confirmed_height")?),
    })
}

impl Store {
    /// Returns all cooperative closes that are not buried yet.
    ///
    /// # Errors
    /// If the query fails or a transaction cannot be decoded.
    pub fn agreed_closes(&self) -> Result<Vec<AgreedCloseRow>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT * FROM agreed_closes ORDER BY channel_id")?
                .query_map([], agreed_close)?
                .collect()
        })
    }

    /// Returns all closed channels, oldest first. Unreadable records are skipped and logged.
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
