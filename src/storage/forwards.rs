//! Forwarded payments.

use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::sql::{bound, json, signed, unsigned};
use super::{Change, StorageError, Store, Subject};
use crate::model::forward::{ForwardQuery, ForwardRow};

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
        ])
        .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!(
            "the forward at {} ns since 1970",
            self.row.forwarded_at_ns
        ))
    }
}

impl Store {
    /// Returns a page of forwards, oldest first; ties are in index order.
    ///
    /// # Errors
    /// If the query fails.
    pub fn forwards(&self, query: &ForwardQuery) -> Result<Vec<ForwardRow>, StorageError> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT forwarded_at_ns, scid_in, scid_out, amount_out_msat, fee_msat
                 FROM forwards
                 WHERE forwarded_at_ns BETWEEN ?1 AND ?2
                   AND (?3 = '[]' OR scid_in IN (SELECT value FROM json_each(?3)))
                   AND (?4 = '[]' OR scid_out IN (SELECT value FROM json_each(?4)))
                 ORDER BY forwarded_at_ns, fee_msat, id
                 LIMIT ?5 OFFSET ?6",
            )?
            .query_map(
                params![
                    bound(query.from_ns),
                    bound(query.to_ns),
                    json(&stored(&query.incoming))?,
                    json(&stored(&query.outgoing))?,
                    bound(query.limit),
                    bound(query.offset),
                ],
                read,
            )?
            .collect()
        })
    }

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

/// Converts short channel ids to their stored form.
fn stored(scids: &[u64]) -> Vec<i64> {
    scids.iter().copied().map(signed).collect()
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
mod tests {
    use super::*;
    use crate::storage::schema;

    fn forward(at_ns: u64, scid_in: u64, scid_out: u64, fee_msat: Option<u64>) -> ForwardRow {
        ForwardRow {
            forwarded_at_ns: at_ns,
            scid_in: Some(scid_in),
            scid_out: Some(scid_out),
            amount_out_msat: Some(1_000),
            fee_msat,
        }
    }

    fn filled(rows: &[ForwardRow]) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for row in rows {
            store.submit(AddForward {
                row: row.clone(),
                record: (),
            });
        }
        store.flush();
        (directory, store)
    }

    fn all() -> ForwardQuery {
        ForwardQuery {
            to_ns: u64::MAX,
            limit: 100,
            ..ForwardQuery::default()
        }
    }

    #[test]
    fn pages_are_in_order_of_time() {
        let rows: Vec<_> = (1..=5).map(|at| forward(at, 7, 8, Some(at))).collect();
        let (_directory, store) = filled(&rows);
        let page = |offset| ForwardQuery {
            offset,
            limit: 2,
            ..all()
        };
        assert_eq!(store.forwards(&all()).unwrap(), rows);
        assert_eq!(store.forwards(&page(2)).unwrap(), rows[2..4]);
        assert_eq!(store.forwards(&page(4)).unwrap(), rows[4..]);
        assert!(store.forwards(&page(5)).unwrap().is_empty());
    }

    #[test]
    fn time_range_includes_both_ends() {
        let rows: Vec<_> = (1..=5).map(|at| forward(at, 7, 8, Some(at))).collect();
        let (_directory, store) = filled(&rows);
        let query = ForwardQuery {
            from_ns: 2,
            to_ns: 4,
            ..all()
        };
        assert_eq!(store.forwards(&query).unwrap(), rows[1..4]);
        assert_eq!(store.forward_fees_msat(2, 4).unwrap(), 2 + 3 + 4);
        assert_eq!(store.forward_fees_msat(6, u64::MAX).unwrap(), 0);
    }

    #[test]
    fn channel_filter_applies_before_paging() {
        let alias = u64::MAX - 5;
        let rows = [
            forward(1, 7, 8, Some(1)),
            forward(2, alias, 8, None),
            forward(3, alias, 9, Some(3)),
        ];
        let (_directory, store) = filled(&rows);
        let from = |incoming: &[u64], outgoing: &[u64]| {
            let query = ForwardQuery {
                incoming: incoming.to_vec(),
                outgoing: outgoing.to_vec(),
                ..all()
            };
            store.forwards(&query).unwrap()
        };
        assert_eq!(from(&[alias], &[]), rows[1..]);
        assert_eq!(from(&[alias, 7], &[8]), rows[..2]);
        assert!(from(&[7], &[9]).is_empty());
        let second = ForwardQuery {
            incoming: vec![alias],
            offset: 1,
            ..all()
        };
        assert_eq!(store.forwards(&second).unwrap(), rows[2..]);
    }

    fn plan(store: &Store, sql: &str) -> String {
        let steps = store.read(|db| {
            db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?
                .query_map([], |row| row.get::<_, String>("detail"))?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        steps.unwrap().join("; ")
    }

    #[test]
    fn fee_total_reads_the_index_only() {
        let (_directory, store) = filled(&[]);
        let sum = "SELECT SUM(fee_msat) FROM forwards WHERE forwarded_at_ns BETWEEN 1 AND 2";
        let plan = plan(&store, sum);
        assert!(plan.contains("COVERING INDEX forwards_by_time"), "{plan}");
    }

    #[test]
    fn pages_are_read_without_sorting() {
        let (_directory, store) = filled(&[]);
        let page = "SELECT * FROM forwards WHERE forwarded_at_ns BETWEEN 1 AND 2
                    ORDER BY forwarded_at_ns, fee_msat, id LIMIT 1";
        let plan = plan(&store, page);
        assert!(plan.contains("INDEX forwards_by_time"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }

    #[test]
    fn migration_keeps_known_fields_of_old_forwards() {
        let directory = tempfile::tempdir().unwrap();
        let db = schema::earlier(&Store::path_in(directory.path()), 5);
        db.execute_batch(
            "INSERT INTO forwards VALUES (1, 7, '{\"amount_out_msat\":5,\"fee_msat\":null}')",
        )
        .unwrap();
        drop(db);
        let store = Store::open(directory.path()).unwrap();
        let expected = ForwardRow {
            forwarded_at_ns: 7_000_000_000,
            scid_in: None,
            scid_out: None,
            amount_out_msat: Some(5),
            fee_msat: None,
        };
        assert_eq!(store.forwards(&all()).unwrap(), [expected]);
    }
}
