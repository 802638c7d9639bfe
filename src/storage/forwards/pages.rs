//! Pages of the forwards, oldest first; ties are in index order.
//!
//! A client asks for a page by the number of forwards before it. Without a filter by channel, the counts of
//! days and hours tell where the page begins. With one, the forwards of the channels are read from an index
//! of their own.

use std::collections::BTreeSet;

use rusqlite::{Connection, params, params_from_iter};

use super::counts;
use super::read;
use crate::model::forward::{ForwardQuery, ForwardRow};
use crate::storage::sql::{bound, json, signed};
use crate::storage::{StorageError, Store};

/// The maximum number of channels whose forwards are read from their index and merged. Those of more channels
/// are likely a large share of all, so all of the time range are read and filtered.
const MAX_MERGED: usize = 50;

const COLUMNS: &str = "forwarded_at_ns, scid_in, scid_out, amount_out_msat, fee_msat, id";

impl Store {
    /// Returns a page of forwards, oldest first; ties are in index order.
    ///
    /// # Errors
    /// If the query fails.
    pub fn forwards(&self, query: &ForwardQuery) -> Result<Vec<ForwardRow>, StorageError> {
        self.query(|db| {
            let snapshot = db.unchecked_transaction()?;
            if query.incoming.is_empty() && query.outgoing.is_empty() {
                return of_all(&snapshot, query);
            }
            let (incoming, outgoing) = (stored(&query.incoming), stored(&query.outgoing));
            let small = |scids: &BTreeSet<i64>| (1..=MAX_MERGED).contains(&scids.len());
            if small(&incoming) {
                of_channels(&snapshot, query, &Side::IN, &incoming, &outgoing)
            } else if small(&outgoing) {
                of_channels(&snapshot, query, &Side::OUT, &outgoing, &incoming)
            } else {
                of_many_channels(&snapshot, query, &incoming, &outgoing)
            }
        })
    }
}

/// Converts short channel ids to their stored form.
fn stored(scids: &[u64]) -> BTreeSet<i64> {
    scids.iter().copied().map(signed).collect()
}

pub(super) const OF_ALL: &str =
    "SELECT forwarded_at_ns, scid_in, scid_out, amount_out_msat, fee_msat, id
     FROM forwards WHERE forwarded_at_ns BETWEEN ?1 AND ?2
     ORDER BY forwarded_at_ns, fee_msat, id LIMIT ?3 OFFSET ?4";

fn of_all(db: &Connection, query: &ForwardQuery) -> rusqlite::Result<Vec<ForwardRow>> {
    let (from_ns, to_ns) = (bound(query.from_ns), bound(query.to_ns));
    let Some(start) = counts::start(db, from_ns, to_ns, query.offset)? else {
        return Ok(Vec::new());
    };
    let page = params![start.at_ns, to_ns, bound(query.limit), bound(start.skip)];
    let mut statement = db.prepare_cached(OF_ALL)?;
    statement.query_map(page, read)?.collect()
}

/// One of the two channels of a forward.
pub(super) struct Side {
    scid: &'static str,
    other: &'static str,
}

impl Side {
    pub(super) const IN: Self = Self {
        scid: "scid_in",
        other: "scid_out",
    };
    pub(super) const OUT: Self = Self {
        scid: "scid_out",
        other: "scid_in",
    };

    /// Returns a query that merges the forwards of this number of channels. Parameters: the time range, the
    /// page, the other side's channels as JSON, and these channels.
    pub(super) fn query(&self, channels: usize) -> String {
        let Self { scid, other } = self;
        let one = |number: usize| {
            format!(
                "SELECT {COLUMNS} FROM forwards
                 WHERE {scid} = ?{} AND forwarded_at_ns BETWEEN ?1 AND ?2
                 AND (?5 = '[]' OR {other} IN (SELECT value FROM json_each(?5)))",
                number + 6
            )
        };
        let all: Vec<String> = (0..channels).map(one).collect();
        format!(
            "{} ORDER BY forwarded_at_ns, fee_msat, id LIMIT ?3 OFFSET ?4",
            all.join(" UNION ALL ")
        )
    }
}

fn of_channels(
    db: &Connection,
    query: &ForwardQuery,
    side: &Side,
    scids: &BTreeSet<i64>,
    others: &BTreeSet<i64>,
) -> rusqlite::Result<Vec<ForwardRow>> {
    let mut values: Vec<rusqlite::types::Value> = vec![
        bound(query.from_ns).into(),
        bound(query.to_ns).into(),
        bound(query.limit).into(),
        bound(query.offset).into(),
        json(others)?.into(),
    ];
    values.extend(scids.iter().map(|scid| (*scid).into()));
    // Not cached: each number of channels is another statement.
    db.prepare(&side.query(scids.len()))?
        .query_map(params_from_iter(values), read)?
        .collect()
}

fn of_many_channels(
    db: &Connection,
    query: &ForwardQuery,
    incoming: &BTreeSet<i64>,
    outgoing: &BTreeSet<i64>,
) -> rusqlite::Result<Vec<ForwardRow>> {
    db.prepare_cached(
        "SELECT forwarded_at_ns, scid_in, scid_out, amount_out_msat, fee_msat
         FROM forwards
         WHERE forwarded_at_ns BETWEEN ?1 AND ?2
           AND (?3 = '[]' OR +scid_in IN (SELECT value FROM json_each(?3)))
           AND (?4 = '[]' OR +scid_out IN (SELECT value FROM json_each(?4)))
         ORDER BY forwarded_at_ns, fee_msat, id
         LIMIT ?5 OFFSET ?6",
    )?
    .query_map(
        params![
            bound(query.from_ns),
            bound(query.to_ns),
            json(incoming)?,
            json(outgoing)?,
            bound(query.limit),
            bound(query.offset),
        ],
        read,
    )?
    .collect()
}
