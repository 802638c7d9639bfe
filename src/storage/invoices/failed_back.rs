//! HTLCs that were failed back.
//!
//! Unknown payers can send any number of shards of incomplete payments to an AMP invoice, at no cost.
//! So the rows of canceled shards are deleted after a while (`invoices::delete_failed`). A row must be kept
//! until the channel manager on disk includes the failure, because after a restart the HTLC is failed
//! back again from its row. If the invoice is deleted earlier, the table `given_back` keeps the data
//! that this requires.

use ldk_amp::HtlcKey;
use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use crate::model::htlc::HtlcState;
use crate::storage::sql::{array, bound, signed, unsigned};
use crate::storage::{Change, StorageError, Store, Subject};

/// The indices cover canceled HTLCs only, so each query must contain this state as a literal.
const CANCELED: u8 = HtlcState::Canceled.number();

/// An HTLC that was failed back. Ordered by time, as pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailedBack {
    /// Time of the failure, in seconds since 1970.
    pub resolved_at: u64,
    pub key: HtlcKey,
}

impl FailedBack {
    /// Precedes all HTLCs: the start of the first page.
    pub const START: Self = Self {
        resolved_at: 0,
        key: HtlcKey {
            channel_id: ChannelId([0; 32]),
            htlc_id: 0,
        },
    };
}

impl Store {
    /// Returns a page of HTLCs of AMP invoices that were failed back before a time (seconds since
    /// 1970), each with the add index of its invoice. Oldest first; `after` is exclusive.
    ///
    /// # Errors
    /// If the query fails.
    pub fn canceled_shards(
        &self,
        before: u64,
        after: FailedBack,
        limit: usize,
    ) -> Result<Vec<(FailedBack, u64)>, StorageError> {
        let query = format!(
            "SELECT resolved_at, channel_id, htlc_id, add_index FROM htlcs
             WHERE state = {CANCELED} AND set_id IS NOT NULL AND resolved_at < ?1
             AND (resolved_at, channel_id, htlc_id) > (?2, ?3, ?4)
             ORDER BY resolved_at, channel_id, htlc_id LIMIT ?5"
        );
        let parameters = page(before, after, limit);
        self.query(|db| {
            db.prepare_cached(&query)?
                .query_map(parameters, |row| {
                    Ok((failed_back(row)?, unsigned(row.get("add_index")?)))
                })?
                .collect()
        })
    }

    /// Like [`Store::canceled_shards`], for HTLCs of deleted invoices.
    ///
    /// # Errors
    /// If the query fails.
    pub fn failed_back_before(
        &self,
        before: u64,
        after: FailedBack,
        limit: usize,
    ) -> Result<Vec<FailedBack>, StorageError> {
        let query = "SELECT resolved_at, channel_id, htlc_id FROM given_back
             WHERE resolved_at < ?1 AND (resolved_at, channel_id, htlc_id) > (?2, ?3, ?4)
             ORDER BY resolved_at, channel_id, htlc_id LIMIT ?5";
        let parameters = page(before, after, limit);
        self.query(|db| {
            db.prepare_cached(query)?
                .query_map(parameters, failed_back)?
                .collect()
        })
    }

    /// Skips the newest `count` HTLCs of AMP invoices that were failed back, and returns the time
    /// (seconds since 1970) of the next older one; `None` if there are at most `count`.
    ///
    /// # Errors
    /// If the query fails.
    pub fn canceled_shard_before_newest(&self, count: u64) -> Result<Option<u64>, StorageError> {
        self.query(|db| {
            let time: Option<i64> = db
                .prepare_cached(&format!(
                    "SELECT resolved_at FROM htlcs WHERE state = {CANCELED} AND set_id IS NOT NULL
                     AND resolved_at >= 0 ORDER BY resolved_at DESC LIMIT 1 OFFSET ?1"
                ))?
                .query_row([bound(count)], |row| row.get(0))
                .optional()?;
            Ok(time.map(unsigned))
        })
    }

    /// Returns whether an HTLC of this invoice was failed back at or after a time (seconds since 1970).
    ///
    /// # Errors
    /// If the query fails.
    pub fn has_canceled_htlc_since(&self, add_index: u64, time: u64) -> Result<bool, StorageError> {
        self.query(|db| {
            db.prepare_cached(&format!(
                "SELECT EXISTS (SELECT 1 FROM htlcs
                 WHERE add_index = ?1 AND state = {CANCELED} AND resolved_at >= ?2)"
            ))?
            .query_row(params![signed(add_index), bound(time)], |row| row.get(0))
        })
    }

    /// Returns the payment hash of an HTLC that was failed back and whose invoice was deleted.
    ///
    /// # Errors
    /// If the query fails.
    pub fn failed_back(&self, key: &HtlcKey) -> Result<Option<PaymentHash>, StorageError> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT payment_hash FROM given_back WHERE channel_id = ?1 AND htlc_id = ?2",
            )?
            .query_row(params![key.channel_id.0, signed(key.htlc_id)], |row| {
                array(row, "payment_hash").map(PaymentHash)
            })
            .optional()
        })
    }
}

/// Returns the parameters ?1 to ?5 of a query for a page.
fn page(before: u64, after: FailedBack, limit: usize) -> impl Params {
    let FailedBack { resolved_at, key } = after;
    (
        bound(before),
        bound(resolved_at),
        key.channel_id.0,
        signed(key.htlc_id),
        bound(limit as u64),
    )
}

fn failed_back(row: &Row<'_>) -> rusqlite::Result<FailedBack> {
    Ok(FailedBack {
        resolved_at: unsigned(row.get("resolved_at")?),
        key: HtlcKey {
            channel_id: ChannelId(array(row, "channel_id")?),
            htlc_id: unsigned(row.get("htlc_id")?),
        },
    })
}

/// Deletes HTLCs that were failed back, and canceled sets that have no HTLCs left.
pub struct ForgetFailedBack(pub Vec<FailedBack>);

impl Change for ForgetFailedBack {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        self.0.iter().try_for_each(|htlc| forget(db, htlc))
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!("the deletion of {} failed HTLCs", self.0.len()))
    }
}

fn forget(db: &Connection, htlc: &FailedBack) -> rusqlite::Result<()> {
    let key = params![htlc.key.channel_id.0, signed(htlc.key.htlc_id)];
    db.prepare_cached("DELETE FROM given_back WHERE channel_id = ?1 AND htlc_id = ?2")?
        .execute(key)?;
    let set_id: Option<Option<[u8; 32]>> = db
        .prepare_cached(&format!(
            "DELETE FROM htlcs WHERE channel_id = ?1 AND htlc_id = ?2 AND state = {CANCELED}
             RETURNING set_id"
        ))?
        .query_row(key, |row| row.get(0))
        .optional()?;
    if let Some(Some(set_id)) = set_id {
        db.prepare_cached(&format!(
            "DELETE FROM amp_sets WHERE set_id = ?1 AND state = {CANCELED}
             AND NOT EXISTS (SELECT 1 FROM htlcs WHERE set_id = ?1)"
        ))?
        .execute([set_id])?;
    }
    Ok(())
}

/// Copies the canceled HTLCs of an invoice to `given_back`, before the invoice is deleted.
pub(super) fn keep_canceled(db: &Connection, add_index: u64) -> rusqlite::Result<()> {
    db.prepare_cached(&format!(
        "INSERT OR REPLACE INTO given_back (channel_id, htlc_id, payment_hash, resolved_at)
         SELECT channel_id, htlc_id, payment_hash, COALESCE(resolved_at, 0) FROM htlcs
         WHERE add_index = ?1 AND state = {CANCELED}"
    ))?
    .execute([signed(add_index)])
    .map(|_| ())
}

#[cfg(test)]
mod tests;
