//! The writer thread: commits everything that is queued in one transaction, then notifies waiters.
//!
//! A commit is a consistent snapshot of the node because of the order in which a batch is filled:
//! 1. a snapshot of the channel manager,
//! 2. the monitor updates that were pending when LDK stood still for the snapshot: those that it includes,
//! 3. then the pending rows and values, which cover every event that the manager no longer replays.
//!
//! So on disk the manager is never behind a monitor (LDK would force-close the channel) nor ahead of one
//! (LDK would refuse to start), and our rows are never behind the manager. Urgent changes are not delayed
//! by a timer: a batch is as large as the load, and the next one is filled while the current one is synced.
//! Only changes that nothing waits for are held back, to share a commit with later ones
//! (`MAX_COMMIT_DELAY`).
//!
//! If a commit fails, no waiter is notified and the same batch is retried: LDK sends no message
//! before its monitor update is complete, so channels pause and no funds move. If the commit can
//! never succeed, the failing change is skipped or the writer ends (see `permanent`).

mod batch;
mod pending;
mod permanent;
mod queue;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lightning::ln::types::ChannelId;
use rusqlite::Connection;

use super::manager_log::ManagerLog;
use super::{StorageError, schema};
use crate::sync::lock;
use batch::Batch;
use permanent::Failure;
use queue::Queue;

pub use queue::CommitHold;

/// Time between two attempts of a failing commit.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of retries of a failing commit during shutdown.
const SHUTDOWN_RETRIES: u32 = 3;

/// Name of the writer thread.
const THREAD: &str = "storage";

/// Position of a change in the queue of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket of no rows at all: always on disk.
    pub const NOTHING: Self = Self(0);
}

/// A point in time that is passed once everything that LDK had done before it is committed. See
/// [`Store::barrier`](super::Store::barrier).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Barrier(u64);

/// The state of the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The last commit succeeded.
    Writing,
    /// Commits fail for this reason. Channels and payments are paused until commits succeed.
    Failing(String),
}

/// Interface of the writer to the running node.
pub trait SnapshotSource: Send + Sync {
    /// Appends the encoded channel manager to an empty buffer, which has the capacity of earlier ones. Calls
    /// `cut` once while LDK stands still: the snapshot includes the monitor updates that were queued before,
    /// and no others.
    fn manager_snapshot(&self, bytes: &mut Vec<u8>, cut: &mut dyn FnMut());
    /// Reports monitor updates that are on disk, so that LDK can complete them.
    fn monitors_written(&self, updates: &[(ChannelId, u64)]);
}

/// Handle of the writer thread. Dropping it without [`Writer::stop`] discards all pending changes,
/// as a crash would; the last commit is a consistent snapshot. After the drop nothing more is
/// written, so the database can safely be opened again.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<Result<(), StorageError>>>>,
}

impl Writer {
    /// Starts the thread for the database at `path`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(path: PathBuf, db: Connection) -> Result<Self, StorageError> {
        let queue = Queue::new();
        let run = {
            let queue = queue.clone();
            let path = path.clone();
            move || run(&queue, &path, db)
        };
        let thread = std::thread::Builder::new()
            .name(THREAD.into())
            .spawn(run)
            .map_err(|source| StorageError::Directory { path, source })?;
        Ok(Self {
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Writes all pending changes and ends the thread. Blocks until then.
    ///
    /// # Errors
    /// [`StorageError::Unwritten`] if the last commits failed; [`StorageError::Unwritable`] if a
    /// change can never be committed.
    pub(super) fn stop(&self) -> Result<(), StorageError> {
        self.queue.stop();
        self.join()
    }

    fn join(&self) -> Result<(), StorageError> {
        let thread = lock(&self.thread).take();
        match thread.map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(StorageError::Unwritten("the writer panicked".into())),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.abandon();
        // The result is ignored: pending changes are discarded on purpose. A row may own the last
        // handle to the store: then this is the writer thread, which must not join itself.
        if std::thread::current().name() != Some(THREAD) {
            let _ = self.join();
        }
    }
}

/// Reports the end of the writer when dropped, also after a panic.
struct EndGuard<'a>(&'a Queue);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the writer panicked; the node is shutting down";
            self.0.report(Health::Failing(why.into()));
        }
        self.0.ended();
    }
}

fn run(queue: &Queue, path: &std::path::Path, mut db: Connection) -> Result<(), StorageError> {
    let _guard = EndGuard(queue);
    let mut log = ManagerLog::default();
    while let Some(mut batch) = queue.next_batch(&mut log) {
        batch.may_panic();
        crash_points::at_commit();
        let start = Instant::now();
        write(queue, path, &mut db, &batch)?;
        measure(&batch, start.elapsed());
        queue.report(Health::Writing);
        if let Some(write) = batch.manager.take() {
            log.committed(write);
        }
        queue.complete(&batch);
    }
    Ok(())
}

/// Updates the metrics of the database.
fn measure(batch: &Batch, took: Duration) {
    metrics::counter!("ampd_commits_total").increment(1);
    metrics::histogram!("ampd_commit_seconds").record(took);
    if let Some(manager) = &batch.manager {
        metrics::gauge!("ampd_manager_bytes").set(manager.manager_len() as f64);
        metrics::counter!("ampd_manager_bytes_written_total").increment(manager.len() as u64);
        metrics::histogram!("ampd_manager_encoding_seconds").record(manager.encoding);
    }
    tracing::trace!(
        monitors = batch.monitors.len(),
        rows = batch.rows.len(),
        values = batch.values.len(),
        manager_bytes = batch.manager.as_ref().map_or(0, |manager| manager.len()),
        encoding_us = batch
            .manager
            .as_ref()
            .map_or(0, |manager| manager.encoding.as_micros()),
        comparing_us = batch
            .manager
            .as_ref()
            .map_or(0, |manager| manager.comparing.as_micros()),
        writing_us = took.as_micros(),
        "committed"
    );
}

fn attempt(_queue: &Queue, db: &mut Connection, batch: &Batch) -> Result<(), Failure> {
    #[cfg(test)]
    tests::limit_size(_queue, db).map_err(Failure::Temporary)?;
    permanent::commit(db, batch.changes())
}

/// Commits the batch, retrying until it succeeds; during shutdown at most [`SHUTDOWN_RETRIES`] times.
///
/// # Errors
/// [`StorageError::Unwritable`] if the batch can never be committed; [`StorageError::Unwritten`] if
/// the retries during shutdown fail.
fn write(
    queue: &Queue,
    path: &std::path::Path,
    db: &mut Connection,
    batch: &Batch,
) -> Result<(), StorageError> {
    let mut shutdown_retries = 0;
    while let Err(failure) = attempt(queue, db, batch) {
        let error = match failure {
            Failure::Temporary(error) => error,
            Failure::Permanent { row, source } => {
                let error = StorageError::Unwritable { row, source };
                queue
                    .health
                    .send_replace(Health::Failing(error.to_string()));
                return Err(error);
            }
        };
        queue.report(Health::Failing(error.to_string()));
        if queue.pause() {
            shutdown_retries += 1;
            if shutdown_retries > SHUTDOWN_RETRIES || queue.is_abandoned() {
                return Err(StorageError::Unwritten(error.to_string()));
            }
            std::thread::sleep(RETRY_INTERVAL / 4);
        }
        // Reconnect: SQLite's cache is not reliable after an I/O error.
        if let Ok(fresh) = schema::connect(path) {
            *db = fresh;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
