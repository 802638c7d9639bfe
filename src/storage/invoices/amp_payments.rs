//! Payments received by one AMP invoice: pages of its settled sets, and totals per day.
//!
//! These queries use the index `amp_sets_of_invoice`, which contains all columns that they filter by
//! and sum.

use ldk_amp::SetId;
use rusqlite::{Connection, Row, Statement, params};

use lnd_api::tlv;

use crate::model::amp_payment::{DayTotal, PaymentPage, PaymentRecord, TimeSpan};
use crate::model::htlc::HtlcState;
use crate::storage::sql::{array, bound, parse, signed, unsigned};
use crate::storage::{StorageError, Store};

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
                    params![signed(add_index), bound(settled.from), end(settled)],
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

/// Returns the last second of a range, for a comparison in SQL.
fn end(span: TimeSpan) -> i64 {
    match span.to {
        0 => i64::MAX,
        to => bound(to),
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
                end(page.settled),
                bound(page.limit),
            ],
            |row| payment(row, &mut shards),
        )?
        .collect()
}

fn payment(row: &Row<'_>, shards: &mut Statement<'_>) -> rusqlite::Result<PaymentRecord> {
    let set_id = SetId::from_bytes(array(row, "set_id")?);
    let (count, message) = shards_and_message(shards, &set_id)?;
    Ok(PaymentRecord {
        settle_index: unsigned(row.get("settle_index")?),
        settled_at: unsigned(row.get("settled_at")?),
        set_id,
        amt_msat: unsigned(row.get("amt_paid_msat")?),
        shards: count,
        message,
    })
}

/// Returns the number of shards and the first message found: payers usually send the same records
/// with each shard.
fn shards_and_message(
    shards: &mut Statement<'_>,
    set_id: &SetId,
) -> rusqlite::Result<(u32, Option<Vec<u8>>)> {
    let mut rows = shards.query(params![set_id.as_bytes(), HtlcState::Settled.number()])?;
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
