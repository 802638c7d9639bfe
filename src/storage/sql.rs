//! Building blocks shared by all tables: the `Change` trait and conversions of numbers and bytes.

use rusqlite::Connection;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A write to the database. It may run more than once, because failed commits are retried.
pub trait Change: Send {
    /// Applies the change in the open transaction of `db`.
    ///
    /// # Errors
    /// SQLite's error; the whole transaction is then rolled back. If the failure is permanent,
    /// [`Self::subject`] decides whether the change is skipped or the node shuts down.
    fn apply(&self, db: &Connection) -> rusqlite::Result<()>;

    /// Names what is written, in terms an operator understands.
    fn subject(&self) -> Subject {
        Subject::Vital(std::any::type_name::<Self>().to_owned())
    }

    /// The changes that a compound change consists of.
    fn parts(&self) -> Option<&[Box<dyn Change>]> {
        None
    }
}

/// The subject of a change: its name in the log, and how a permanent failure is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Funds or commitments to others depend on it: the node shuts down.
    Vital(String),
    /// Informational only: the change is skipped.
    Informative(String),
}

/// Several changes in one commit.
impl Change for Vec<Box<dyn Change>> {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        self.iter().try_for_each(|change| change.apply(db))
    }

    fn parts(&self) -> Option<&[Box<dyn Change>]> {
        Some(self)
    }
}

/// Converts to SQLite's signed integers. A u64 (short channel id, msat amount) keeps its bits, so
/// every value survives. Amounts stay below 2^63, so SQL sums and comparisons are correct.
pub(super) const fn signed(value: u64) -> i64 {
    value as i64
}

/// The inverse of [`signed`].
pub(super) const fn unsigned(value: i64) -> u64 {
    value as u64
}

/// Converts a client's number for comparison with stored ones; values beyond i64 match no row.
pub(super) fn bound(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads a column that must hold exactly `N` bytes.
pub(super) fn array<const N: usize>(
    row: &rusqlite::Row<'_>,
    column: &str,
) -> rusqlite::Result<[u8; N]> {
    let bytes: Vec<u8> = row.get(column)?;
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| damaged(format!("column {column}: {length} bytes instead of {N}")))
}

/// Like [`array`], for a column that may be NULL.
pub(super) fn optional_array<const N: usize>(
    row: &rusqlite::Row<'_>,
    column: &str,
) -> rusqlite::Result<Option<[u8; N]>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => array(row, column).map(Some),
    }
}

/// Encodes a record as JSON for storage.
pub(super) fn json(record: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(record)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// The inverse of [`json`].
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
}

/// Error for a stored value that cannot be decoded.
pub(super) fn damaged(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, what.into())
}

/// Maps each variant to its number in the database and back.
macro_rules! numbered {
    ($name:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        impl $name {
            pub(super) const fn number(self) -> u8 {
                match self { $(Self::$variant => $number),* }
            }

            pub(super) fn of(number: u8) -> rusqlite::Result<Self> {
                match number {
                    $($number => Ok(Self::$variant),)*
                    other => Err($crate::storage::sql::damaged(format!("{} {other}", stringify!($name)))),
                }
            }
        }
    };
}

pub(super) use numbered;
