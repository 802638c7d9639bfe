//! Tests of the forwards: pages, totals and migrations.

use super::*;
use crate::model::forward::ForwardQuery;
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

/// Returns the steps of the plans of these statements.
fn plans(store: &Store, sql: &[&str]) -> Vec<String> {
    let plan = |sql: &&str| {
        let steps = store.read(|db| {
            let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            for parameter in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(parameter, 1)?;
            }
            let steps = statement
                .raw_query()
                .mapped(|row| row.get::<_, String>("detail"));
            steps.collect::<rusqlite::Result<Vec<_>>>()
        });
        steps.unwrap()
    };
    sql.iter().flat_map(plan).collect()
}

#[test]
fn fee_total_reads_the_index_only() {
    let (_directory, store) = filled(&[]);
    let sum = "SELECT SUM(fee_msat) FROM forwards WHERE forwarded_at_ns BETWEEN 1 AND 2";
    let plan = plans(&store, &[sum]).join("; ");
    assert!(plan.contains("COVERING INDEX forwards_by_time"), "{plan}");
}

#[test]
fn pages_are_read_from_indexes_without_sorting() {
    let (_directory, store) = filled(&[]);
    let of_all = plans(&store, &[pages::OF_ALL, counts::DAYS, counts::HOURS]);
    assert!(of_all[0].contains("INDEX forwards_by_time"), "{of_all:?}");
    let since_midnight = plans(&store, &[counts::SINCE_MIDNIGHT]);
    let in_one = pages::Side::IN.query(1);
    let of_one = plans(&store, &[&in_one]);
    assert!(
        of_one[0].contains("INDEX forwards_by_scid_in (scid_in=?"),
        "{of_one:?}"
    );
    let out_three = pages::Side::OUT.query(3);
    let of_three = plans(&store, &[&out_three]);
    let merged = |step: &&String| step.contains("INDEX forwards_by_scid_out (scid_out=?");
    assert_eq!(of_three.iter().filter(merged).count(), 3, "{of_three:?}");
    for step in [of_all, since_midnight, of_one, of_three].concat() {
        let scans = step.starts_with("SCAN") && !step.contains("CONSTANT ROW");
        assert!(!scans || step.contains("json_each"), "{step}");
        assert!(!step.contains("TEMP B-TREE"), "{step}");
    }
}

/// Compares pages of all kinds with those of a list in memory.
#[test]
fn pages_of_a_long_history_skip_the_same_forwards() {
    const HOUR_NS: u64 = 3_600 * 1_000_000_000;
    let mut rows = Vec::new();
    // Uneven: bursts, days without forwards, ties, and a clock that was set back.
    for n in 0..400_u64 {
        let hour = 480_000 + n / 40 * 31 + n % 3 * 9 + u64::from(n % 40 == 0) * 500;
        let fee = (n % 5 > 0).then_some(n % 4);
        rows.push(forward(hour * HOUR_NS + n % 7, n % 60, n % 2, fee));
    }
    let (_directory, store) = filled(&rows);
    let mut sorted = rows.clone();
    sorted.sort_by_key(|row| (row.forwarded_at_ns, row.fee_msat));
    let many: Vec<u64> = (0..55).collect();
    let channels: [(&[u64], &[u64]); 7] = [
        (&[], &[]),
        (&[3], &[]),
        (&[3, 3, 4, 59], &[]),
        (&[], &[1]),
        (&[1, 2, 3], &[1]),
        (&many, &[0]),
        (&many, &[]),
    ];
    let first = sorted[0].forwarded_at_ns;
    let ranges = [
        (0, u64::MAX),
        (first + 3, first + 40 * HOUR_NS),
        (first + 100 * HOUR_NS + 2, first + 400 * HOUR_NS),
        (first + 9_000 * HOUR_NS, u64::MAX),
    ];
    for (incoming, outgoing) in channels {
        for (from_ns, to_ns) in ranges {
            for offset in [0, 1, 7, 39, 150, 399, 400] {
                let query = ForwardQuery {
                    from_ns,
                    to_ns,
                    offset,
                    limit: 30,
                    incoming: incoming.to_vec(),
                    outgoing: outgoing.to_vec(),
                };
                let expected: Vec<_> = sorted
                    .iter()
                    .filter(|row| (from_ns..=to_ns).contains(&row.forwarded_at_ns))
                    .filter(|row| incoming.is_empty() || incoming.contains(&row.scid_in.unwrap()))
                    .filter(|row| outgoing.is_empty() || outgoing.contains(&row.scid_out.unwrap()))
                    .skip(usize::try_from(offset).unwrap())
                    .take(30)
                    .cloned()
                    .collect();
                assert_eq!(store.forwards(&query).unwrap(), expected, "{query:?}");
            }
        }
    }
}

#[test]
fn migration_counts_old_forwards() {
    let directory = tempfile::tempdir().unwrap();
    let db = schema::earlier(&Store::path_in(directory.path()), 14);
    for day in 1..=3_i64 {
        db.execute(
            "INSERT INTO forwards (record, forwarded_at_ns, fee_msat) VALUES ('{}', ?1, 1)",
            [day * 86_400 * 1_000_000_000],
        )
        .unwrap();
    }
    drop(db);
    let store = Store::open(directory.path()).unwrap();
    let second = ForwardQuery { offset: 1, ..all() };
    let found = store.forwards(&second).unwrap();
    let days: Vec<_> = found
        .iter()
        .map(|row| row.forwarded_at_ns / 86_400_000_000_000)
        .collect();
    assert_eq!(days, [2, 3]);
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
