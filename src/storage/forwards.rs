//! Forwarded payments.

use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::sql::{bound, json, signed, unsigned};
use super::{Change, StorageError, Store, Subject};
use crate::model::forward::ForwardRow;

mod counts;
mod pages;

/// Adds a forwarded payment.
pub struct AddForward<T> {
    pub row: ForwardRow,
    /// The full record, as the channels module writes it.
    pub record: T,
}

impl<T: Serialize + Send> Change for AddForward<T> {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let row = &self.row;
        db.prepare_cached(
            "INSERT INTO forwards
                 (forwarded_at_ns, scid_in, scid_out, amount_out_msat, fee_msat, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            signed(row.forwarded_at_ns),
            row.scid_in.map(signed),
            row.scid_out.map(signed),
            row.amount_out_msat.map(signed),
            row.fee_msat.map(signed),
            json(&self.record)?,
        ])?;
        counts::add(db, signed(row.forwarded_at_ns))
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!(
            "the forward at {} ns since 1970",
            self.row.forwarded_at_ns
        ))
    }
}

impl Store {
    /// Returns the total fees in msat of all forwards in a time range (nanoseconds since 1970, both
    /// ends inclusive).
    ///
    /// # Errors
    /// If the query fails.
    pub fn forward_fees_msat(&self, from_ns: u64, to_ns: u64) -> Result<u64, StorageError> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT COALESCE(SUM(fee_msat), 0) FROM forwards
                 WHERE forwarded_at_ns BETWEEN ?1 AND ?2",
            )?
            .query_row(params![bound(from_ns), bound(to_ns)], |row| row.get(0))
            .map(unsigned)
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<ForwardRow> {
    let optional = |column: &str| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(unsigned))
    };
    Ok(ForwardRow {
        forwarded_at_ns: unsigned(row.get("forwarded_at_ns")?),
        scid_in: optional("scid_in")?,
        scid_out: optional("scid_out")?,
        amount_out_msat: optional("amount_out_msat")?,
        fee_msat: optional("fee_msat")?,
    })
}

#[cfg(test)]
mod tests;
