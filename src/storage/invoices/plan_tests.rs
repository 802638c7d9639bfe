//! Asserts that every query uses an index, so that its cost does not grow with the number of other
//! invoices, sets or HTLCs. SQLite's plans do not depend on the content of the tables, since ampd
//! never runs ANALYZE.

use std::sync::Mutex;

use ldk_amp::{PaymentAddr, SetId};
use lightning_types::payment::PaymentHash;
use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::tests::htlc_key;
use super::*;
use crate::model::amp_payment::{PaymentPage, TimeSpan};
use crate::model::invoice::{HtlcSelection, InvoicePage, InvoiceRef};
use crate::storage::{StorageError, Store};

/// The statements that ran since this was last cleared.
static RAN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn record(event: TraceEvent<'_>) {
    if let TraceEvent::Profile(statement, _) = event {
        RAN.lock().unwrap().push(statement.sql().into_owned());
    }
}

/// Returns the plan of each statement that `call` runs, one line per step.
fn plans(store: &Store, call: impl FnOnce()) -> Vec<String> {
    RAN.lock().unwrap().clear();
    call();
    let ran = std::mem::take(&mut *RAN.lock().unwrap());
    assert!(!ran.is_empty());
    let plans = store.read(|db| {
        ran.iter()
            .map(|sql| plan(db, sql))
            .collect::<Result<Vec<_>, _>>()
    });
    let plans = plans.unwrap();
    RAN.lock().unwrap().clear();
    plans.into_iter().flatten().collect()
}

fn plan(db: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    for parameter in 1..=statement.parameter_count() {
        statement.raw_bind_parameter(parameter, 1)?;
    }
    let steps = statement
        .raw_query()
        .mapped(|row| row.get::<_, String>("detail"));
    steps
        .map(|step| Ok(format!("{} -- {sql}", step?)))
        .collect()
}

/// Returns whether the step reads a whole table or a whole index.
fn scans(step: &str) -> bool {
    step.starts_with("SCAN") && !step.starts_with("SCAN CONSTANT ROW")
}

fn sorts(step: &str) -> bool {
    step.starts_with("USE TEMP B-TREE")
}

type Query = fn(&Store) -> Result<(), StorageError>;

/// Queries with a bounded or limited result: they must not sort either.
const PAGED: &[Query] = &[
    |store| store.invoice(1).map(drop),
    |store| store.invoice_by_hash(&PaymentHash([1; 32])).map(drop),
    |store| {
        store
            .invoice_by_addr(&PaymentAddr::from_bytes([1; 32]))
            .map(drop)
    },
    |store| store.set(&SetId::from_bytes([1; 32])).map(drop),
    |store| store.htlc(&htlc_key(1)).map(drop),
    |store| store.invoice_indices().map(drop),
    |store| store.expired_invoices(1, 1).map(drop),
    |store| store.next_expiry().map(drop),
    |store| store.has_settled_set(1).map(drop),
    |store| store.settlements(1, 2, 3).map(drop),
    |store| store.canceled_shards(1, FailedBack::START, 1).map(drop),
    |store| store.failed_back_before(1, FailedBack::START, 1).map(drop),
    |store| store.canceled_shard_before_newest(1).map(drop),
    |store| store.has_canceled_htlc_since(1, 1).map(drop),
    |store| store.failed_back(&htlc_key(1)).map(drop),
    |store| {
        store
            .invoice_by(&InvoiceRef::Hash(PaymentHash([1; 32])))
            .map(drop)
    },
    |store| {
        store
            .invoice_by(&InvoiceRef::Addr(PaymentAddr::from_bytes([1; 32])))
            .map(drop)
    },
    |store| {
        store
            .invoice_by(&InvoiceRef::SetId(SetId::from_bytes([1; 32])))
            .map(drop)
    },
    |store| store.invoices(&page(false, false)).map(drop),
    |store| store.invoices(&page(true, false)).map(drop),
    |store| store.invoices(&page(false, true)).map(drop),
    |store| store.invoices(&page(true, true)).map(drop),
    |store| {
        let recent = InvoicePage {
            created_from: 1,
            ..page(true, false)
        };
        store.invoices(&recent).map(drop)
    },
    |store| {
        store
            .payments_of_invoice(1, &PaymentPage::default())
            .map(drop)
    },
    |store| {
        let last = PaymentPage {
            reversed: true,
            ..Default::default()
        };
        store.payments_of_invoice(1, &last).map(drop)
    },
];

/// Queries that return all matching rows.
const UNLIMITED: &[Query] = &[
    |store| {
        found(
            store,
            InvoiceRef::Hash(PaymentHash([1; 32])),
            HtlcSelection::All,
        )
    },
    |store| {
        found(
            store,
            InvoiceRef::Addr(PaymentAddr::from_bytes([1; 32])),
            HtlcSelection::None,
        )
    },
    |store| {
        found(
            store,
            InvoiceRef::SetId(SetId::from_bytes([1; 32])),
            HtlcSelection::SetOnly,
        )
    },
    |store| store.invoice_at(1, 1).map(drop),
    |store| store.htlcs_of_invoice(1).map(drop),
    |store| store.htlcs_of_set(&SetId::from_bytes([1; 32])).map(drop),
    |store| store.unresolved_htlcs().map(drop),
    |store| {
        store
            .day_totals_of_invoice(1, TimeSpan::default())
            .map(drop)
    },
];

fn found(store: &Store, by: InvoiceRef, selection: HtlcSelection) -> Result<(), StorageError> {
    store.find_invoice(&by, selection).map(drop)
}

fn page(reversed: bool, pending_only: bool) -> InvoicePage {
    InvoicePage {
        limit: 10,
        reversed,
        pending_only,
        ..Default::default()
    }
}

#[test]
fn every_query_uses_an_index() {
    let (_dir, store) = tests::store();
    // An invoice with a set and an HTLC, so that nested queries also run.
    store.submit(tests::one_of_each());
    store.flush();
    // Queries run one after the other, so they all use the same connection.
    let profile = TraceEventCodes::SQLITE_TRACE_PROFILE;
    store
        .read(|db| {
            db.trace_v2(profile, Some(record));
            Ok(())
        })
        .unwrap();

    for query in PAGED {
        for step in plans(&store, || query(&store).unwrap()) {
            assert!(!scans(&step) && !sorts(&step), "{step}");
        }
    }
    for query in UNLIMITED {
        for step in plans(&store, || query(&store).unwrap()) {
            assert!(!scans(&step), "{step}");
            // This would read all incomplete sets, of which unknown payers can cause any number.
            assert!(!step.contains("(settle_index=?)"), "{step}");
        }
    }
    let add_index = 1;
    let mut changes = tests::one_of_each();
    changes.push(Box::new(NeverExpires { add_index }));
    changes.push(Box::new(ForgetFailedBack(vec![FailedBack::START])));
    changes.push(Box::new(DeleteInvoice { add_index }));
    for change in changes {
        let write = || store.read(|db| change.apply(db)).unwrap();
        for step in plans(&store, write) {
            assert!(!scans(&step) && !sorts(&step), "{step}");
        }
    }
}

/// Totals and filters of payments are computed from an index alone. HTLCs that must be claimed again
/// at startup are found without reading the others.
#[test]
fn queries_use_the_intended_indexes() {
    let (_dir, store) = tests::store();
    let steps = |sql: &str| store.read(|db| plan(db, sql)).unwrap().join("\n");
    let totals = "SELECT SUM(amt_paid_msat) FROM amp_sets WHERE add_index = 1 AND settle_index > 0
         AND settled_at > 5";
    assert!(
        steps(totals).contains("COVERING INDEX amp_sets_of_invoice"),
        "{}",
        steps(totals)
    );
    let unresolved = "SELECT * FROM htlcs WHERE claimed = 0 AND state < 2 ORDER BY accepted_at";
    assert!(
        steps(unresolved).contains("INDEX htlcs_unresolved"),
        "{}",
        steps(unresolved)
    );
    let expiring = "SELECT * FROM invoices WHERE state = 0 AND expires_at <= 5 ORDER BY expires_at";
    assert!(
        steps(expiring).contains("INDEX invoices_expiring"),
        "{}",
        steps(expiring)
    );
    let pending = "SELECT * FROM invoices WHERE state IN (0, 3) AND add_index > 1
         ORDER BY add_index LIMIT 10";
    assert!(
        steps(pending).contains("INDEX invoices_pending"),
        "{}",
        steps(pending)
    );
}
