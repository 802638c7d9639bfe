//! The numbers of forwards in each day and hour, by which the n-th forward of a time range is found without
//! reading those before it.

use rusqlite::{Connection, params};

use crate::storage::sql::unsigned;

const HOUR_NS: i64 = 3_600 * 1_000_000_000;
const HOURS_PER_DAY: i64 = 24;
const DAY_NS: i64 = HOURS_PER_DAY * HOUR_NS;

/// Where to start reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// Nanoseconds since 1970.
    pub at_ns: i64,
    /// The number of forwards to skip from there, less than those of an hour.
    pub skip: u64,
}

/// Counts a new forward.
///
/// # Errors
/// If a statement fails.
pub(super) fn add(db: &Connection, forwarded_at_ns: i64) -> rusqlite::Result<()> {
    for (insert, period) in [
        (
            "INSERT INTO forward_days VALUES (?1, 1)
             ON CONFLICT (day) DO UPDATE SET forwards = forwards + 1",
            forwarded_at_ns / DAY_NS,
        ),
        (
            "INSERT INTO forward_hours VALUES (?1, 1)
             ON CONFLICT (hour) DO UPDATE SET forwards = forwards + 1",
            forwarded_at_ns / HOUR_NS,
        ),
    ] {
        db.prepare_cached(insert)?.execute([period])?;
    }
    Ok(())
}

/// Returns where the forward with this position among those since `from_ns` is found; `None` if there are not
/// so many until `to_ns`.
///
/// # Errors
/// If a query fails.
pub(super) fn start(
    db: &Connection,
    from_ns: i64,
    to_ns: i64,
    position: u64,
) -> rusqlite::Result<Option<Start>> {
    if position == 0 {
        return Ok(Some(Start {
            at_ns: from_ns,
            skip: 0,
        }));
    }
    let (first_day, last_day) = (from_ns / DAY_NS, to_ns / DAY_NS);
    let before = since_midnight(db, from_ns)?;
    let position = position.saturating_add(before);
    let Some((day, position)) = find(db, DAYS, first_day, last_day, position)? else {
        return Ok(None);
    };
    let first_hour = day * HOURS_PER_DAY;
    let last_hour = first_hour + HOURS_PER_DAY - 1;
    let found = find(db, HOURS, first_hour, last_hour, position)?;
    Ok(found.map(|(hour, skip)| Start {
        at_ns: hour * HOUR_NS,
        skip,
    }))
}

pub(super) const DAYS: &str =
    "SELECT day, forwards FROM forward_days WHERE day BETWEEN ?1 AND ?2 ORDER BY day";
pub(super) const HOURS: &str =
    "SELECT hour, forwards FROM forward_hours WHERE hour BETWEEN ?1 AND ?2 ORDER BY hour";
pub(super) const SINCE_MIDNIGHT: &str =
    "SELECT (SELECT COALESCE(SUM(forwards), 0) FROM forward_hours WHERE hour >= ?1 AND hour < ?2)
     + (SELECT COUNT(*) FROM forwards WHERE forwarded_at_ns >= ?3 AND forwarded_at_ns < ?4)";

/// Returns the period that contains the forward with this position, counted from the beginning of the first
/// period, and its position in that period.
fn find(
    db: &Connection,
    query: &str,
    first: i64,
    last: i64,
    mut position: u64,
) -> rusqlite::Result<Option<(i64, u64)>> {
    let mut statement = db.prepare_cached(query)?;
    let mut rows = statement.query([first, last])?;
    while let Some(row) = rows.next()? {
        let forwards = unsigned(row.get(1)?);
        match position.checked_sub(forwards) {
            Some(remaining) => position = remaining,
            None => return Ok(Some((row.get(0)?, position))),
        }
    }
    Ok(None)
}

/// Returns the number of forwards between the beginning of the day and this time.
fn since_midnight(db: &Connection, until_ns: i64) -> rusqlite::Result<u64> {
    let (day, hour) = (until_ns / DAY_NS, until_ns / HOUR_NS);
    let bounds = params![day * HOURS_PER_DAY, hour, hour * HOUR_NS, until_ns];
    db.prepare_cached(SINCE_MIDNIGHT)?
        .query_row(bounds, |row| row.get(0).map(unsigned))
}
