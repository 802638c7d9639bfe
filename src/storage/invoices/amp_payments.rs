//! Payments received by one AMP invoice: pages of its settled sets, and totals per day.
//!
//! These queries use the index `amp_sets_of_invoice`, which contains all columns that they filter by
//! and sum.

use rusqlite::{Connection, Statement, params};

use lnd_api::tlv;

use super::records::HtlcState;
use crate::storage::sql::{array, bound, parse, signed, unsigned};
use crate::storage::{StorageError, Store};

/// A filter for the payments of an invoice, and their order.
#[derive(Debug, Clone, Copy, Default)]
pub struct PaymentPage {
    /// A settle index, exclusive; 0 is the beginning, or the end if `reversed`.
    pub index_offset: u64,
    pub limit: u64,
    /// List the last payments before the offset; the result is still oldest first, as in lists of
    /// invoices.
    pub reversed: bool,
    pub settled: TimeSpan,
}

/// A range of time in seconds since 1970, both ends inclusive; 0: no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeSpan {
    pub from: u64,
    pub to: u64,
}

impl TimeSpan {
    fn end(self) -> i64 {
        match self.to {
            0 => i64::MAX,
            to => bound(to),
        }
    }
}

/// One payment to an AMP invoice: a settled set.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentRecord {
    pub settle_index: u64,
    /// Seconds since 1970.
    pub settled_at: u64,
    pub set_id: [u8; 32],
    pub amt_msat: u64,
    pub shards: u32,
    /// The payer's message: untrusted bytes, not necessarily UTF-8.
    pub message: Option<Vec<u8>>,
}

/// Omits the message, which is private.
impl std::fmt::Debug for PaymentRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaymentRecord")
            .field("settle_index", &self.settle_index)
            .field("amt_msat", &self.amt_msat)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

/// The total received on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayTotal {
    /// Days since 1970-01-01 (UTC).
    pub day: u64,
    pub payments: u64,
    pub amt_msat: u64,
}

impl Store {
    /// Returns a page of the payments to this invoice, oldest first.
    ///
    /// # Errors
    /// If the query fails.
    pub fn payments_of_invoice(
        &self,
        add_index: u64,
        page: &PaymentPage,
    ) -> Result<Vec<PaymentRecord>, StorageError> {
        let mut found = self.query(|db| payments(db, add_index, page))?;
        if page.reversed {
            found.reverse();
        }
        Ok(found)
    }

    /// Returns the daily totals of this invoice, oldest first; days without payments are omitted.
    ///
    /// # Errors
    /// If the query fails.
    pub fn day_totals_of_invoice(
        &self,
        add_index: u64,
        settled: TimeSpan,
    ) -> Result<Vec<DayTotal>, StorageError> {
        // Unix time has no leap seconds: each day has 86,400 seconds.
        let query = "SELECT settled_at / 86400, COUNT(*), SUM(amt_paid_msat) FROM amp_sets
             WHERE add_index = ?1 AND settle_index > 0 AND settled_at >= ?2 AND settled_at <= ?3
             GROUP BY 1 ORDER BY 1";
        self.query(|db| {
            db.prepare_cached(query)?
                .query_map(
                    params![signed(add_index), bound(settled.from), settled.end()],
                    |row| {
                        Ok(DayTotal {
                            day: unsigned(row.get(0)?),
                            payments: unsigned(row.get(1)?),
                            amt_msat: unsigned(row.get(2)?),
                        })
                    },
                )?
                .collect()
        })
    }
}

fn payments(
    db: &Connection,
    add_index: u64,
    page: &PaymentPage,
) -> rusqlite::Result<Vec<PaymentRecord>> {
    let offset = match (page.index_offset, page.reversed) {
        (0, true) => i64::MAX,
        (offset, _) => bound(offset),
    };
    let query = format!(
        "SELECT settle_index, settled_at, set_id, amt_paid_msat FROM amp_sets
         WHERE add_index = ?1 AND settle_index {} ?2 AND settled_at >= ?3 AND settled_at <= ?4
         ORDER BY settle_index {} LIMIT ?5",
        if page.reversed { "<" } else { ">" },
        if page.reversed { "DESC" } else { "ASC" },
    );
    let mut shards = db.prepare_cached(
        "SELECT custom_records FROM htlcs WHERE set_id = ?1 AND state = ?2
         ORDER BY htlc_id, channel_id",
    )?;
    db.prepare_cached(&query)?
        .query_map(
            params![
                signed(add_index),
                offset,
                bound(page.settled.from),
                page.settled.end(),
                bound(page.limit),
            ],
            |row| {
                let set_id = array(row, "set_id")?;
                let (count, message) = shards_and_message(&mut shards, &set_id)?;
                Ok(PaymentRecord {
                    settle_index: unsigned(row.get("settle_index")?),
                    settled_at: unsigned(row.get("settled_at")?),
                    set_id,
                    amt_msat: unsigned(row.get("amt_paid_msat")?),
                    shards: count,
                    message,
                })
            },
        )?
        .collect()
}

/// Returns the number of shards and the first message found: payers usually send the same records
/// with each shard.
fn shards_and_message(
    shards: &mut Statement<'_>,
    set_id: &[u8; 32],
) -> rusqlite::Result<(u32, Option<Vec<u8>>)> {
    let mut rows = shards.query(params![set_id, HtlcState::Settled.number()])?;
    let (mut count, mut message) = (0, None);
    while let Some(row) = rows.next()? {
        count += 1;
        if message.is_none() {
            let records: Option<String> = row.get(0)?;
            message = records.map(|text| message_of(&text)).transpose()?.flatten();
        }
    }
    Ok((count, message))
}

fn message_of(custom_records: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut records: std::collections::BTreeMap<u64, Vec<u8>> = parse(custom_records)?;
    Ok(records.remove(&tlv::MESSAGE))
}

#[cfg(test)]
mod tests;
