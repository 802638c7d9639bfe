//! The indices of the payments and invoices created on each day, to find those of a time range.
//!
//! Lists are in the order of the index, which follows the time of creation unless the clock was set back.
//! So the range of indices found here may contain others, but misses none: lists still compare the times.

use std::ops::RangeInclusive;

use rusqlite::{Connection, params};

use super::sql::bound;

/// Seconds per day.
const DAY: i64 = 86_400;

/// A range that contains no index.
#[expect(clippy::reversed_empty_ranges, reason = "empty on purpose")]
const NONE: RangeInclusive<i64> = 1..=0;

/// A table of days.
#[derive(Clone, Copy)]
pub(super) struct CreationDays {
    table: &'static str,
}

/// The days of the payments.
pub(super) const PAYMENTS: CreationDays = CreationDays {
    table: "payment_days",
};

/// The days of the invoices.
pub(super) const INVOICES: CreationDays = CreationDays {
    table: "invoice_days",
};

impl CreationDays {
    /// Adds a row with this index, created at this time (seconds since 1970).
    ///
    /// # Errors
    /// If the statement fails.
    pub(super) fn add(self, db: &Connection, created_at: i64, index: i64) -> rusqlite::Result<()> {
        let table = self.table;
        db.prepare_cached(&format!(
            "INSERT INTO {table} VALUES (?1, ?2, ?2) ON CONFLICT (day)
             DO UPDATE SET first_index = MIN(first_index, ?2), last_index = MAX(last_index, ?2)"
        ))?
        .execute(params![created_at / DAY, index])
        .map(drop)
    }

    /// Returns a range with the indices of all rows created from `from` to `to`, in seconds since 1970, both
    /// inclusive; 0: no bound.
    ///
    /// # Errors
    /// If the query fails.
    pub(super) fn indices(
        self,
        db: &Connection,
        from: u64,
        to: u64,
    ) -> rusqlite::Result<RangeInclusive<i64>> {
        if from == 0 && to == 0 {
            return Ok(i64::MIN..=i64::MAX);
        }
        let first_day = bound(from) / DAY;
        let last_day = match to {
            0 => i64::MAX,
            to => bound(to) / DAY,
        };
        let (first, last): (Option<i64>, Option<i64>) = db
            .prepare_cached(&self.query())?
            .query_row([first_day, last_day], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(first.zip(last).map_or(NONE, |(first, last)| first..=last))
    }

    fn query(self) -> String {
        let table = self.table;
        format!("SELECT MIN(first_index), MAX(last_index) FROM {table} WHERE day BETWEEN ?1 AND ?2")
    }
}

/// Returns the indices of `within` after the exclusive `offset` of a list, or before it if `reversed`; then 0
/// is the end.
pub(super) fn after_offset(
    within: &RangeInclusive<i64>,
    offset: u64,
    reversed: bool,
) -> RangeInclusive<i64> {
    let (first, last) = (*within.start(), *within.end());
    match (reversed, bound(offset)) {
        (false, offset) => match offset.checked_add(1) {
            Some(next) => first.max(next)..=last,
            None => NONE,
        },
        (true, 0) => first..=last,
        (true, offset) => first..=last.min(offset.saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Store;

    const TODAY: u64 = 20_000 * 86_400;

    #[test]
    fn days_of_the_range_are_included_completely() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let found = store.read(|db| {
            // The clock was set back by a day after the second one.
            for (created_at, index) in [
                (TODAY, 1),
                (TODAY + 86_400, 2),
                (TODAY + 86_399, 3),
                (TODAY + 86_400, 4),
                (TODAY + 3 * 86_400, 5),
            ] {
                PAYMENTS.add(db, bound(created_at), index)?;
            }
            let indices = |from, to| PAYMENTS.indices(db, from, to).unwrap();
            Ok([
                indices(0, 0),
                indices(TODAY + 5, TODAY + 6),
                indices(TODAY + 86_400, 0),
                indices(0, TODAY),
                indices(TODAY + 2 * 86_400, TODAY + 3 * 86_400 - 1),
                indices(u64::MAX, 0),
                INVOICES.indices(db, TODAY, 0).unwrap(),
            ])
        });
        let expected = [i64::MIN..=i64::MAX, 1..=3, 2..=5, 1..=3, NONE, NONE, NONE];
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn only_the_days_of_the_range_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for days in [PAYMENTS, INVOICES] {
            let explain = format!("EXPLAIN QUERY PLAN {}", days.query());
            let steps = store.read(|db| {
                let mut statement = db.prepare(&explain)?;
                let steps = statement.query_map([1, 2], |row| row.get("detail"))?;
                steps.collect::<Result<Vec<String>, _>>()
            });
            let [step] = <[String; 1]>::try_from(steps.unwrap()).unwrap();
            assert!(step.starts_with("SEARCH"), "{step}");
        }
    }

    #[test]
    fn offsets_are_exclusive() {
        assert_eq!(after_offset(&(1..=9), 0, false), 1..=9);
        assert_eq!(after_offset(&(1..=9), 4, false), 5..=9);
        assert!(after_offset(&(1..=9), u64::MAX, false).is_empty());
        assert_eq!(after_offset(&(1..=9), 0, true), 1..=9);
        assert_eq!(after_offset(&(1..=9), 4, true), 1..=3);
        assert_eq!(after_offset(&(1..=9), u64::MAX, true), 1..=9);
        assert!(after_offset(&(5..=9), 5, true).is_empty());
    }
}
