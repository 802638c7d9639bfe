//! The history in pages.

use rusqlite::{Connection, params};

use super::{AttemptRecord, PaymentRecord, PaymentState, attempt_record, payment_record};
use crate::storage::sql::{bound, signed, unsigned};
use crate::storage::{StorageError, Store};

const SECOND_NS: u64 = 1_000_000_000;

/// Which payments to list, and in what order.
#[derive(Debug, Clone, Copy, Default)]
pub struct PaymentPage {
    /// Exclusive; 0 is the beginning, or the end if `reversed`.
    pub index_offset: u64,
    pub limit: u64,
    /// The last ones before the offset; still returned oldest first, as lnd does.
    pub reversed: bool,
    /// Also those that are in flight or failed.
    pub include_incomplete: bool,
    /// Seconds since 1970, inclusive; 0: no bound.
    pub created_from: u64,
    /// Seconds since 1970, inclusive; 0: no bound.
    pub created_to: u64,
}

impl Store {
    /// How many payments there are.
    ///
    /// # Errors
    /// If the query fails.
    pub fn count_payments(&self) -> Result<u64, StorageError> {
        self.query(|db| {
            db.query_row("SELECT COUNT(*) FROM payments", [], |row| {
                row.get(0).map(unsigned)
            })
        })
    }

    /// A page of payments with their attempts, all as of one moment.
    ///
    /// # Errors
    /// If the query fails.
    pub fn payments(
        &self,
        page: &PaymentPage,
    ) -> Result<Vec<(PaymentRecord, Vec<AttemptRecord>)>, StorageError> {
        self.query(|db| {
            let moment = db.unchecked_transaction()?;
            let records = records(&moment, page)?;
            with_attempts(&moment, records)
        })
    }
}

fn records(db: &Connection, page: &PaymentPage) -> rusqlite::Result<Vec<PaymentRecord>> {
    let offset = if page.reversed && page.index_offset == 0 {
        i64::MAX
    } else {
        bound(page.index_offset)
    };
    // The end is inclusive in seconds, so exclusive in nanoseconds one second later.
    let to = page
        .created_to
        .checked_add(1)
        .filter(|_| page.created_to > 0)
        .unwrap_or(0);
    let mut found: Vec<PaymentRecord> = db
        .prepare_cached(&query(page))?
        .query_map(
            params![
                offset,
                bound(page.created_from.saturating_mul(SECOND_NS)),
                bound(to.saturating_mul(SECOND_NS)),
                bound(page.limit),
            ],
            payment_record,
        )?
        .collect::<Result<_, _>>()?;
    if page.reversed {
        found.reverse();
    }
    Ok(found)
}

/// Goes by the payments' indices in their order, and stops at the limit.
fn query(page: &PaymentPage) -> String {
    let (newer, order) = if page.reversed {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let state = if page.include_incomplete {
        String::new()
    } else {
        format!("AND state = {}", PaymentState::Succeeded.number())
    };
    format!(
        "SELECT * FROM payments WHERE payment_index {newer} ?1 {state}
         AND created_at_ns >= ?2 AND (?3 = 0 OR created_at_ns < ?3)
         ORDER BY payment_index {order} LIMIT ?4",
    )
}

/// One statement, prepared once, run for each payment: a page may leave out payments in between, so
/// its attempts are no range of the index that they are found by.
fn with_attempts(
    db: &Connection,
    records: Vec<PaymentRecord>,
) -> rusqlite::Result<Vec<(PaymentRecord, Vec<AttemptRecord>)>> {
    let mut statement =
        db.prepare_cached("SELECT * FROM attempts WHERE payment_index = ?1 ORDER BY attempt_id")?;
    let attempts = |record: PaymentRecord| {
        let attempts = statement
            .query_map([signed(record.payment_index)], attempt_record)?
            .collect::<Result<_, _>>()?;
        Ok((record, attempts))
    };
    records.into_iter().map(attempts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How SQLite finds the rows of a page.
    fn plan(page: &PaymentPage) -> String {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let explain = format!("EXPLAIN QUERY PLAN {}", query(page));
        let steps = store.read(|db| {
            let mut statement = db.prepare(&explain)?;
            let steps = statement.query_map([1, 1, 1, 1], |row| row.get("detail"))?;
            steps.collect::<Result<Vec<String>, _>>()
        });
        steps.unwrap().join("\n")
    }

    #[test]
    fn pages_are_read_from_an_index_in_their_order() {
        for reversed in [false, true] {
            let all = PaymentPage {
                reversed,
                include_incomplete: true,
                ..Default::default()
            };
            let plan_of_all = plan(&all);
            let by_index = "SEARCH payments USING INDEX sqlite_autoindex_payments_1 (payment_index";
            assert!(plan_of_all.starts_with(by_index), "{plan_of_all}");
            let done = PaymentPage {
                include_incomplete: false,
                ..all
            };
            let plan_of_done = plan(&done);
            let by_state =
                "SEARCH payments USING INDEX payments_by_state (state=? AND payment_index";
            assert!(plan_of_done.starts_with(by_state), "{plan_of_done}");
            for plan in [plan_of_all, plan_of_done] {
                assert_eq!(plan.lines().count(), 1, "{plan}");
            }
        }
    }
}
