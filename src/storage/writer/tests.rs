//! Tests of the writer's guarantees: consistent snapshots, notifications only after the commit,
//! delayed commits.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::params;

use super::pending::MAX_COMMIT_DELAY;
use super::*;
use crate::storage::{Change, Store};

mod disk;
mod node;

use node::{FakeNode, Image};

/// The maximum page count that SQLite supports.
pub(super) const UNLIMITED_PAGES: u32 = u32::MAX - 1;

/// Limits the database to the size that the test has set.
pub(super) fn limit_size(queue: &Queue, db: &Connection) -> rusqlite::Result<()> {
    let max_pages = queue.max_pages.load(Ordering::Relaxed);
    db.pragma_update(None, "max_page_count", max_pages)
}

impl Writer {
    /// Makes commits fail as on a full disk.
    pub(in crate::storage) fn fill_disk(&self) {
        self.queue.max_pages.store(1, Ordering::Relaxed);
        self.queue.submit(Box::new(disk::Big(1 << 20)));
    }

    pub(in crate::storage) fn clear_disk(&self) {
        self.queue
            .max_pages
            .store(UNLIMITED_PAGES, Ordering::Relaxed);
    }
}

/// A row that contains a number.
struct Note(u64);

impl Change for Note {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT INTO wallet_changes (bytes) VALUES (?1)")?
            .execute(params![self.0.to_be_bytes()])
            .map(|_| ())
    }
}

fn notes(store: &Store) -> Vec<u64> {
    let notes = store.wallet_changes().unwrap();
    let number = |bytes: Vec<u8>| u64::from_be_bytes(bytes.try_into().unwrap());
    notes.into_iter().map(number).collect()
}

fn temporary() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

#[test]
fn every_commit_under_load_is_a_consistent_snapshot() {
    let (_dir, store) = temporary();
    let store = Arc::new(store);
    let node = FakeNode::attach(&store, Image::default());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        node.run(scope, &store, &stop);
        let mut commits = std::collections::HashSet::new();
        while commits.len() < 60 {
            let image = Image::read(&store);
            image.check();
            commits.insert(image.rows);
            std::thread::sleep(node::UPDATE_INTERVAL);
        }
        stop.store(true, Ordering::Relaxed);
    });
    store.manager_changed();
    store.close().unwrap();
    let image = Image::read(&store);
    image.check();
    assert_eq!(
        image,
        node.image(),
        "closing must write all pending changes"
    );
    assert_eq!(
        node.completed(),
        image.monitors,
        "each update must be completed"
    );
}

#[tokio::test]
async fn tickets_are_durable_only_after_their_commit() {
    let (_dir, store) = temporary();
    for number in 1..=100 {
        let ticket = store.submit(Note(number));
        if store.is_durable(ticket) {
            assert_eq!(notes(&store).last(), Some(&number));
        }
        store.durable(ticket).await;
        assert!(store.is_durable(ticket));
        assert_eq!(notes(&store).len() as u64, number);
    }
}

#[test]
fn flush_waits_for_rows_of_all_threads() {
    let (_dir, store) = temporary();
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..50 {
                    store.submit(Note(number));
                }
                barrier.wait();
                store.flush();
                assert_eq!(notes(&store).len(), 200);
            });
        }
    });
}

#[test]
fn compound_changes_are_committed_atomically() {
    let (_dir, store) = temporary();
    store.writer.queue.max_pages.store(1, Ordering::Relaxed);
    let big = disk::Big(1 << 20);
    let both: Vec<Box<dyn Change>> = vec![Box::new(Note(1)), Box::new(big)];
    store.submit(both);
    disk::wait_until_failing(&store);
    assert!(notes(&store).is_empty());
}

#[test]
fn dropped_store_writes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let store = Store::open(dir.path()).unwrap();
        let before = notes(&store).len();
        let durable = store.submit(Note(round));
        for number in 0..100 {
            store.submit(Note(number));
        }
        store.writer.queue.wait(durable);
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        let after = notes(&store);
        assert_eq!(after[before], round, "the durable row is missing");
        assert_eq!(after.len(), notes(&store).len());
    }
}

#[test]
fn closing_leaves_only_the_database_file() {
    let (dir, store) = temporary();
    store.submit(Note(1));
    store.flush();
    // Two concurrent readers, so that two idle connections are kept.
    let both = Barrier::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| store.read(|_| Ok(both.wait().is_leader())).unwrap());
        }
    });
    store.close().unwrap();
    let files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(files, ["ampd.sqlite"]);
    assert_eq!(notes(&store), [1], "reads must work after closing");
}

/// A node whose snapshot fails, as if LDK panicked.
struct Broken;

impl SnapshotSource for Broken {
    fn manager_snapshot(&self, _: &mut Vec<u8>, _: &mut dyn FnMut()) {
        panic!("no snapshot (this panic is part of a test)")
    }

    fn monitors_written(&self, _: &[(ChannelId, u64)]) {}
}

#[test]
fn writer_panic_is_reported_and_releases_waiters() {
    let (_dir, store) = temporary();
    store.attach(Arc::new(Broken));
    store.manager_changed();
    let ticket = store.submit(Note(1));
    store.flush();
    assert!(matches!(&*store.health().borrow(), Health::Failing(_)));
    assert!(!store.is_durable(ticket));
    assert!(matches!(store.close(), Err(StorageError::Unwritten(_))));
}

#[test]
fn delayed_row_is_committed_with_the_next_urgent_row() {
    let (_dir, store) = temporary();
    let delayed = store.submit_deferred(Note(1));
    let urgent = store.submit(Note(2));
    store.writer.queue.wait(urgent);
    assert!(store.is_durable(delayed));
    assert_eq!(
        notes(&store),
        [1, 2],
        "rows must be written in the order of submission"
    );
}

#[test]
fn delayed_row_is_committed_alone_after_the_maximum_delay() {
    let (_dir, store) = temporary();
    let start = Instant::now();
    let ticket = store.submit_deferred(Note(1));
    store.writer.queue.wait(ticket);
    assert!(
        start.elapsed() >= MAX_COMMIT_DELAY,
        "the row was committed too early"
    );
    assert_eq!(notes(&store), [1]);
}

#[test]
fn end_of_a_hold_commits_the_updates_made_during_it() {
    let (_dir, store) = temporary();
    let store = Arc::new(store);
    let node = FakeNode::attach(&store, Image::default());
    let hold = store.hold_commits();
    node.update_monitor(&store, 0);
    node.update_monitor(&store, 1);
    drop(hold);
    let start = Instant::now();
    while node.completed() != [1, 1, 0] {
        assert!(start.elapsed() < Duration::from_secs(20), "not committed");
        std::thread::yield_now();
    }
}

#[test]
fn hold_that_does_not_end_delays_commits_only_briefly() {
    let (_dir, store) = temporary();
    let _hold = store.hold_commits();
    store.flush();
    store.submit_deferred(Note(1));
    let soon = store.submit_soon(Note(2));
    store.writer.queue.wait(soon);
    assert_eq!(notes(&store), [1, 2]);
}

#[tokio::test]
async fn barrier_includes_calls_in_progress() {
    let (_dir, store) = temporary();
    let store = Arc::new(store);
    let node = FakeNode::attach(&store, Image::default());
    let barrier = node.update_around(&store, 0, || {
        let barrier = store.barrier();
        // Time for the writer to reach the snapshot, which waits for the call in progress.
        std::thread::sleep(MAX_COMMIT_DELAY);
        barrier
    });
    store.passed(barrier).await;
    let image = Image::read(&store);
    assert_eq!(image.manager[0], 1, "the manager lacks the update");
}

#[tokio::test]
async fn barrier_includes_rows_queued_before_it() {
    let (_dir, store) = temporary();
    store.submit_deferred(Note(1));
    let barrier = store.barrier();
    store.passed(barrier).await;
    assert_eq!(notes(&store), [1]);
}

#[test]
fn barrier_is_not_passed_while_the_disk_is_full() {
    let (_dir, store) = temporary();
    store.writer.queue.max_pages.store(1, Ordering::Relaxed);
    store.submit(disk::Big(1 << 20));
    disk::wait_until_failing(&store);
    let barrier = store.barrier();
    std::thread::sleep(RETRY_INTERVAL + RETRY_INTERVAL / 4);
    assert!(*store.writer.queue.passed().borrow() < barrier);
    store
        .writer
        .queue
        .max_pages
        .store(UNLIMITED_PAGES, Ordering::Relaxed);
    store.close().unwrap();
    assert!(*store.writer.queue.passed().borrow() >= barrier);
}
