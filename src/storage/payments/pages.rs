//! Pages of the payment history.

use rusqlite::{Connection, params};

use super::{attempt_record, payment_record};
use crate::model::attempt::AttemptRecord;
use crate::model::payment::{PaymentPage, PaymentRecord, PaymentState};
use crate::storage::creation_days::{self, after_offset};
use crate::storage::sql::{bound, signed};
use crate::storage::{StorageError, Store};

/// Nanoseconds per second.
const SECOND_NS: u64 = 1_000_000_000;

impl Store {
    /// Returns a page of payments with their attempts, as a consistent snapshot.
    ///
    /// # Errors
    /// If the query fails.
    pub fn payments(
        &self,
        page: &PaymentPage,
    ) -> Result<Vec<(PaymentRecord, Vec<AttemptRecord>)>, StorageError> {
        self.query(|db| {
            let snapshot = db.unchecked_transaction()?;
            let records = records(&snapshot, page)?;
            with_attempts(&snapshot, records)
        })
    }
}

fn records(db: &Connection, page: &PaymentPage) -> rusqlite::Result<Vec<PaymentRecord>> {
    let created = creation_days::PAYMENTS.indices(db, page.created_from, page.created_to)?;
    let indices = after_offset(&created, page.index_offset, page.reversed);
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
                indices.start(),
                indices.end(),
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

/// Returns a query that reads an index in the requested order and stops at the limit.
fn query(page: &PaymentPage) -> String {
    let order = if page.reversed { "DESC" } else { "ASC" };
    let state = if page.include_incomplete {
        String::new()
    } else {
        format!("AND state = {}", PaymentState::Succeeded.number())
    };
    format!(
        "SELECT * FROM payments WHERE payment_index BETWEEN ?1 AND ?2 {state}
         AND created_at_ns >= ?3 AND (?4 = 0 OR created_at_ns < ?4)
         ORDER BY payment_index {order} LIMIT ?5",
    )
}

/// Adds the attempts of each payment with one statement per payment: a page may skip payments, so its
/// attempts are not a contiguous range of their index.
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

    /// Returns SQLite's query plan for a page.
    fn plan(page: &PaymentPage) -> String {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let explain = format!("EXPLAIN QUERY PLAN {}", query(page));
        let steps = store.read(|db| {
            let mut statement = db.prepare(&explain)?;
            let steps = statement.query_map([1; 5], |row| row.get("detail"))?;
            steps.collect::<Result<Vec<String>, _>>()
        });
        steps.unwrap().join("\n")
    }

    #[test]
    fn pages_are_read_from_an_index_without_sorting() {
        for reversed in [false, true] {
            let all = PaymentPage {
                reversed,
                include_incomplete: true,
                ..Default::default()
            };
            let plan_of_all = plan(&all);
            let by_index = "SEARCH payments USING INDEX sqlite_autoindex_payments_1 (payment_index";
            assert!(plan_of_all.starts_with(by_index), "{plan_of_all}");
            let succeeded = PaymentPage {
                include_incomplete: false,
                ..all
            };
            let plan_of_succeeded = plan(&succeeded);
            let by_state =
                "SEARCH payments USING INDEX payments_by_state (state=? AND payment_index";
            assert!(
                plan_of_succeeded.starts_with(by_state),
                "{plan_of_succeeded}"
            );
            for plan in [plan_of_all, plan_of_succeeded] {
                assert_eq!(plan.lines().count(), 1, "{plan}");
            }
        }
    }
}
