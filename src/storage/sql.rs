//! The pieces that all tables share: what a change is, and how numbers and bytes are stored.

use rusqlite::Connection;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Something to write. It may run more than once: a failed commit is tried again.
pub trait Change: Send {
    /// Writes it in the transaction that is open on `db`.
    ///
    /// # Errors
    /// What SQLite says; the whole transaction is then rolled back. If it fails for good, [`Self::subject`]
    /// decides what becomes of the node.
    fn apply(&self, db: &Connection) -> rusqlite::Result<()>;

    /// What it writes, by a name that an operator understands.
    fn subject(&self) -> Subject {
        Subject::Vital(std::any::type_name::<Self>().to_owned())
    }

    /// The changes that this one consists of, if it consists of others.
    fn parts(&self) -> Option<&[Box<dyn Change>]> {
        None
    }
}

/// What a change writes: a name for the log, and what becomes of the node if it can never be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Money, or a promise to somebody, depends on it: the node stops.
    Vital(String),
    /// People may want to read it, and nothing depends on it: it is left out.
    Informative(String),
}

/// Several changes as one: all of them are in the same commit.
impl Change for Vec<Box<dyn Change>> {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        self.iter().try_for_each(|change| change.apply(db))
    }

    fn parts(&self) -> Option<&[Box<dyn Change>]> {
        Some(self)
    }
}

/// SQLite's integers are signed: a u64 (a short channel id, an msat amount) is stored bit by bit, so
/// that every value survives. Amounts stay below 2^63, so sums and comparisons in SQL are right.
pub(super) const fn signed(value: u64) -> i64 {
    value as i64
}

/// The inverse of [`signed`].
pub(super) const fn unsigned(value: i64) -> u64 {
    value as u64
}

/// A caller's number to compare stored ones with: what no row can reach stays out of reach.
pub(super) fn bound(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A column that must hold exactly `N` bytes.
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

/// A record as the JSON text that is stored.
pub(super) fn json(record: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(record)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// The inverse of [`json`].
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
}

/// A stored value that does not mean anything.
pub(super) fn damaged(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, what.into())
}

/// The number that stands for each variant in the database, and back.
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
