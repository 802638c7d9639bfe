//! What the writer promises: the order of the cut, answers only after the commit, patience.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::params;

use super::*;
use crate::storage::Store;

mod disk;
mod node;

use node::{FakeNode, Image};

/// As many pages as SQLite can count.
pub(super) const PLENTY: u32 = u32::MAX - 1;

/// Makes the disk as small as the test wants it.
pub(super) fn limit_size(queue: &Queue, db: &Connection) -> rusqlite::Result<()> {
    let most = queue.most_pages.load(Ordering::Relaxed);
    db.pragma_update(None, "max_page_count", most)
}

impl Writer {
    /// The next commits fail.
    pub(in crate::storage) fn fill_disk(&self) {
        self.queue.most_pages.store(1, Ordering::Relaxed);
        self.queue.submit(Box::new(disk::Big(1 << 20)));
    }

    pub(in crate::storage) fn clear_disk(&self) {
        self.queue.most_pages.store(PLENTY, Ordering::Relaxed);
    }
}

/// A row with a number.
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
fn every_commit_under_load_is_a_consistent_cut() {
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
            std::thread::sleep(node::PACE);
        }
        stop.store(true, Ordering::Relaxed);
    });
    store.manager_changed();
    store.close().unwrap();
    let image = Image::read(&store);
    image.check();
    assert_eq!(image, node.image(), "close writes all");
    assert_eq!(node.completed(), image.monitors, "each update is completed");
}

#[tokio::test]
async fn a_ticket_is_answered_after_its_commit_and_not_before() {
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
fn flush_waits_for_what_all_threads_have_queued() {
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
fn several_changes_as_one_are_written_together_or_not_at_all() {
    let (_dir, store) = temporary();
    store.writer.queue.most_pages.store(1, Ordering::Relaxed);
    let big = disk::Big(1 << 20);
    let both: Vec<Box<dyn Change>> = vec![Box::new(Note(1)), Box::new(big)];
    store.submit(both);
    disk::until_failing(&store);
    assert!(notes(&store).is_empty());
}

#[test]
fn a_store_that_is_dropped_writes_nothing_more() {
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
        assert_eq!(after[before], round, "what was answered is there");
        assert_eq!(after.len(), notes(&store).len());
    }
}

#[test]
fn closing_leaves_one_file() {
    let (dir, store) = temporary();
    store.submit(Note(1));
    store.flush();
    // Readers that are busy at the same time, so that several stay idle.
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
    assert_eq!(notes(&store), [1], "reading goes on");
}

/// A cut that cannot be taken, as if LDK panicked.
struct Broken;

impl Cut for Broken {
    fn manager_snapshot(&self) -> Vec<u8> {
        panic!("no snapshot (this panic is part of a test)")
    }

    fn monitors_written(&self, _: &[(ChannelId, u64)]) {}
}

#[test]
fn a_writer_that_panics_is_reported_and_nobody_waits_for_it() {
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
fn a_patient_row_shares_the_commit_of_what_does_not_wait() {
    let (_dir, store) = temporary();
    let patient = store.submit_patiently(Note(1));
    let hurried = store.submit(Note(2));
    store.writer.queue.wait(hurried);
    assert!(store.is_durable(patient));
    assert_eq!(notes(&store), [1, 2], "in the order of their submission");
}

#[test]
fn a_patient_row_is_written_without_company_once_its_patience_ends() {
    let (_dir, store) = temporary();
    let start = Instant::now();
    let ticket = store.submit_patiently(Note(1));
    store.writer.queue.wait(ticket);
    assert!(start.elapsed() >= PATIENCE, "it waited for company");
    assert_eq!(notes(&store), [1]);
}

#[tokio::test]
async fn a_barrier_is_passed_when_a_call_that_was_under_way_is_on_disk() {
    let (_dir, store) = temporary();
    let store = Arc::new(store);
    let node = FakeNode::attach(&store, Image::default());
    let barrier = node.update_around(&store, 0, || {
        let barrier = store.barrier();
        // The writer comes to the snapshot, which waits for the call that is under way.
        std::thread::sleep(PATIENCE);
        barrier
    });
    store.passed(barrier).await;
    let image = Image::read(&store);
    assert_eq!(image.manager[0], 1, "the manager lacks the update");
}

#[tokio::test]
async fn a_barrier_holds_the_rows_that_were_queued_before_it() {
    let (_dir, store) = temporary();
    store.submit_patiently(Note(1));
    let barrier = store.barrier();
    store.passed(barrier).await;
    assert_eq!(notes(&store), [1]);
}

#[test]
fn no_barrier_is_passed_while_the_disk_is_full() {
    let (_dir, store) = temporary();
    store.writer.queue.most_pages.store(1, Ordering::Relaxed);
    store.submit(disk::Big(1 << 20));
    disk::until_failing(&store);
    let barrier = store.barrier();
    std::thread::sleep(RETRY_INTERVAL + RETRY_INTERVAL / 4);
    assert!(*store.writer.queue.passed().borrow() < barrier);
    store
        .writer
        .queue
        .most_pages
        .store(PLENTY, Ordering::Relaxed);
    store.close().unwrap();
    assert!(*store.writer.queue.passed().borrow() >= barrier);
}
