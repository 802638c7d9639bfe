//! Tests of changes that can never be written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lightning::ln::types::ChannelId;
use serde::{Deserialize, Serialize};

use super::super::SnapshotSource;
use super::*;
use crate::storage::channels::MergeClosedChannel;
use crate::storage::wallet::AppendWalletChange;
use crate::storage::{Health, StorageError, Store};

/// A row that always violates a constraint.
struct Broken(Subject);

impl Change for Broken {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        // The first insert must be rolled back when the second fails.
        db.execute("INSERT INTO peers VALUES (x'00', 'half')", [])?;
        db.execute("INSERT INTO peers VALUES (x'00', 'twice')", [])
            .map(|_| ())
    }

    fn subject(&self) -> Subject {
        self.0.clone()
    }
}

fn broken(subject: fn(String) -> Subject) -> Broken {
    Broken(subject("the broken row".to_owned()))
}

fn temporary() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn notes(store: &Store) -> Vec<Vec<u8>> {
    store.wallet_changes().unwrap()
}

async fn durable(store: &Store, ticket: crate::storage::Ticket) {
    let written = tokio::time::timeout(Duration::from_secs(60), store.durable(ticket));
    written.await.expect("the writer must continue");
}

/// Counts the reports of persisted monitors to LDK.
#[derive(Default)]
struct Manager {
    reports: AtomicU64,
}

impl SnapshotSource for Manager {
    fn manager_snapshot(&self, bytes: &mut Vec<u8>, cut: &mut dyn FnMut()) {
        cut();
        bytes.push(7);
    }

    fn monitors_written(&self, _: &[(ChannelId, u64)]) {
        self.reports.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn skips_unwritable_informative_rows() {
    let (_dir, store) = temporary();
    let batch: Vec<Box<dyn Change>> = vec![
        Box::new(AppendWalletChange(vec![1])),
        Box::new(broken(Subject::Informative)),
        Box::new(AppendWalletChange(vec![2])),
    ];
    store.submit(batch);
    let ticket = store.submit(AppendWalletChange(vec![3]));
    durable(&store, ticket).await;
    assert_eq!(notes(&store), [[1], [2], [3]]);
    assert!(
        store.peers().unwrap().is_empty(),
        "the row must be skipped completely"
    );
    assert_eq!(*store.health().borrow(), Health::Writing);
    store.close().unwrap();
}

#[tokio::test]
async fn unwritable_vital_row_ends_the_writer_without_commit() {
    let (dir, store) = temporary();
    let first = store.submit(AppendWalletChange(vec![1]));
    durable(&store, first).await;
    let batch: Vec<Box<dyn Change>> = vec![
        Box::new(AppendWalletChange(vec![2])),
        Box::new(broken(Subject::Informative)),
        Box::new(broken(Subject::Vital)),
    ];
    let ticket = store.submit(batch);
    let ended = tokio::time::timeout(Duration::from_secs(60), store.ended());
    ended.await.expect("the writer must not retry forever");
    assert!(!store.is_durable(ticket));
    let health = store.health();
    assert!(matches!(&*health.borrow(), Health::Failing(why) if why.contains("the broken row")));
    let error = store.close().unwrap_err();
    assert!(matches!(&error, StorageError::Unwritable { row, .. } if row == "the broken row"));
    assert!(error.to_string().contains("UNIQUE constraint"), "{error}");
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(notes(&store), [[1]], "the last commit must be intact");
}

/// LDK must not be told that a monitor is on disk if its commit is impossible.
#[tokio::test]
async fn manager_is_not_committed_without_rows_of_its_handled_events() {
    let (dir, store) = temporary();
    let manager = std::sync::Arc::new(Manager::default());
    store.attach(manager.clone());
    store.manager_changed();
    store.submit(broken(Subject::Vital));
    store.ended().await;
    assert_eq!(manager.reports.load(Ordering::Relaxed), 0);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.manager().unwrap(), None);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    number: u64,
}

/// The record of a closed channel was written by an earlier version in another format.
#[tokio::test]
async fn unreadable_closed_channel_record_does_not_stop_the_node() {
    let (dir, store) = temporary();
    let closed = |channel: u8| MergeClosedChannel {
        channel_id: ChannelId([channel; 32]),
        closed_at: 1,
        merge: Box::new(|_| Some(Record { number: 1 })),
    };
    store.submit(closed(1));
    store.close().unwrap();
    let db = Connection::open(Store::path_in(dir.path())).unwrap();
    db.execute("UPDATE closed_channels SET record = '{\"other\":1}'", [])
        .unwrap();
    drop(db);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.submit(closed(1));
    let ticket = store.submit(closed(2));
    durable(&store, ticket).await;
    assert_eq!(*store.health().borrow(), Health::Writing);
    let readable: Vec<Record> = store.closed_channels().unwrap();
    assert_eq!(
        readable,
        [Record { number: 1 }],
        "the other records must be listed"
    );
}

#[test]
fn distinguishes_temporary_from_permanent_errors() {
    let of = |code: i32| {
        let error = rusqlite::ffi::Error::new(code);
        fault(&rusqlite::Error::SqliteFailure(error, None))
    };
    use rusqlite::ffi;
    for code in [
        ffi::SQLITE_FULL,
        ffi::SQLITE_IOERR,
        ffi::SQLITE_IOERR_FSYNC,
        ffi::SQLITE_BUSY,
        ffi::SQLITE_CANTOPEN,
        ffi::SQLITE_READONLY,
    ] {
        assert_eq!(of(code), Fault::Environment, "{code}");
    }
    for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
        assert_eq!(of(code), Fault::Database, "{code}");
    }
    for code in [
        ffi::SQLITE_CONSTRAINT,
        ffi::SQLITE_CONSTRAINT_UNIQUE,
        ffi::SQLITE_ERROR,
        ffi::SQLITE_MISMATCH,
        ffi::SQLITE_TOOBIG,
    ] {
        assert_eq!(of(code), Fault::Change, "{code}");
    }
    let conversion = crate::storage::sql::damaged("nonsense".into());
    assert_eq!(fault(&conversion), Fault::Change);
}
