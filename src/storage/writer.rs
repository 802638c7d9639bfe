//! The writer thread: commits everything that is queued in one transaction, then notifies waiters.
//!
//! A commit is a consistent snapshot of the node because of the order in which a batch is filled:
//! 1. the pending monitor updates,
//! 2. then a snapshot of the channel manager, which includes all of them,
//! 3. then the pending rows and values, which cover every event that the manager no longer replays.
//!
//! So on disk the manager is never behind a monitor (LDK would force-close the channel) and our rows
//! are never behind the manager. Urgent changes are not delayed by a timer: a batch is as large as
//! the load, and the next one is filled while the current one is synced. Only changes that nothing
//! waits for are held back, to share a commit with later ones ([`MAX_COMMIT_DELAY`]).
//!
//! If a commit fails, no waiter is notified and the same batch is retried: LDK sends no message
//! before its monitor update is complete, so channels pause and no funds move. If the commit can
//! never succeed, the failing change is skipped or the writer ends (see `permanent`).

mod permanent;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lightning::ln::types::ChannelId;
use rusqlite::Connection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::kv::{KvWrite, Name};
use super::monitors::MonitorWrite;
use super::{Change, StorageError, schema};
use crash_points::panics;
use permanent::Failure;

/// Maximum time that a change which nothing waits for is held back to share a commit: a manager that
/// changed without a monitor update, a value of LDK's, a row that a monitor update is about to
/// follow. This saves half of all commits; no guarantee depends on it.
const MAX_COMMIT_DELAY: Duration = Duration::from_millis(50);
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
pub trait Cut: Send + Sync {
    /// Returns the encoded channel manager (`ChannelManager::encode()`).
    fn manager_snapshot(&self) -> Vec<u8>;
    /// Reports monitor updates that are on disk, so that LDK can complete them.
    fn monitors_written(&self, updates: &[(ChannelId, u64)]);
}

/// The changes that are not yet in a batch.
#[derive(Default)]
struct Pending {
    monitors: Vec<MonitorWrite>,
    rows: Vec<Box<dyn Change>>,
    /// One of the rows must be committed without delay.
    urgent: bool,
    /// LDK's values by name; a later write of a name replaces an earlier pending one.
    values: HashMap<Name, KvWrite>,
    /// Whether the next batch includes the manager.
    manager: bool,
    /// The time at which the first change that is not urgent was queued: the manager, a value or a
    /// row.
    deferred_since: Option<Instant>,
    last_ticket: u64,
    last_barrier: u64,
    /// The last barrier that is part of a batch.
    taken_barrier: u64,
    stopping: bool,
    /// Stop at once and drop all pending changes.
    abandoned: bool,
    /// The writer has ended: nothing more will be written.
    ended: bool,
}

impl Pending {
    fn push(&mut self, change: Box<dyn Change>) -> Ticket {
        self.rows.push(change);
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Adds the last barrier to a batch. Returns false if an earlier batch already contains it.
    fn take_barrier(&mut self) -> bool {
        let is_new = self.last_barrier > self.taken_barrier;
        self.taken_barrier = self.last_barrier;
        is_new
    }

    /// Returns the time until the next batch is due: zero if it is due now, `None` if nothing is
    /// pending.
    fn due_in(&self) -> Option<Duration> {
        let barrier_waits = self.last_barrier > self.taken_barrier;
        if self.stopping || self.urgent || barrier_waits || !self.monitors.is_empty() {
            return Some(Duration::ZERO);
        }
        self.deferred_since
            .map(|since| MAX_COMMIT_DELAY.saturating_sub(since.elapsed()))
    }
}

/// The queue of changes that the writer commits.
pub(super) struct Queue {
    pending: Mutex<Pending>,
    filled: Condvar,
    emptied: Condvar,
    cut: OnceLock<Arc<dyn Cut>>,
    written: watch::Sender<Ticket>,
    passed: watch::Sender<Barrier>,
    health: watch::Sender<Health>,
    /// Cancelled when the writer ends.
    end: CancellationToken,
    /// Maximum database size in pages; simulates a full disk.
    #[cfg(test)]
    max_pages: std::sync::atomic::AtomicU32,
}

impl Queue {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            pending: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            cut: OnceLock::new(),
            written: watch::Sender::new(Ticket(0)),
            passed: watch::Sender::new(Barrier(0)),
            health: watch::Sender::new(Health::Writing),
            end: CancellationToken::new(),
            #[cfg(test)]
            max_pages: tests::UNLIMITED_PAGES.into(),
        })
    }

    /// Locks the queue, also after a thread panicked while holding the lock: each change of the
    /// queue is a single statement, so the queue is still consistent.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit(&self, change: Box<dyn Change>) -> Ticket {
        let mut pending = self.lock();
        pending.urgent = true;
        let ticket = pending.push(change);
        drop(pending);
        self.filled.notify_one();
        ticket
    }

    /// Like [`Queue::submit`], but the change may be held back for [`MAX_COMMIT_DELAY`].
    pub(super) fn submit_patiently(&self, change: Box<dyn Change>) -> Ticket {
        let mut pending = self.lock();
        pending.deferred_since.get_or_insert_with(Instant::now);
        let ticket = pending.push(change);
        drop(pending);
        self.filled.notify_one();
        ticket
    }

    pub(super) fn submit_monitor(&self, write: MonitorWrite) {
        self.lock().monitors.push(write);
        self.filled.notify_one();
    }

    /// Requests that the next batch includes a snapshot of the manager.
    pub(super) fn manager_changed(&self) {
        let mut pending = self.lock();
        pending.manager = true;
        pending.deferred_since.get_or_insert_with(Instant::now);
        drop(pending);
        self.filled.notify_one();
    }

    /// Requests a batch that is filled after this call and includes a snapshot of the manager.
    pub(super) fn barrier(&self) -> Barrier {
        let mut pending = self.lock();
        pending.last_barrier += 1;
        let barrier = Barrier(pending.last_barrier);
        drop(pending);
        self.filled.notify_one();
        barrier
    }

    pub(super) fn passed(&self) -> watch::Receiver<Barrier> {
        self.passed.subscribe()
    }

    /// Queues a value that is not urgent: LDK writes some, such as its scores, far more often than
    /// they need to be on disk.
    pub(super) fn submit_value(&self, write: KvWrite) {
        let mut pending = self.lock();
        pending.values.insert(write.name.clone(), write);
        pending.deferred_since.get_or_insert_with(Instant::now);
        drop(pending);
        self.filled.notify_one();
    }

    /// Sets the node whose manager is included in batches from now on.
    pub(super) fn attach(&self, cut: Arc<dyn Cut>) {
        // A second node on the same store would be a bug; the first one is kept.
        let _ = self.cut.set(cut);
    }

    pub(super) fn written(&self) -> watch::Receiver<Ticket> {
        self.written.subscribe()
    }

    pub(super) fn is_written(&self, ticket: Ticket) -> bool {
        *self.written.borrow() >= ticket
    }

    /// Blocks until the row with this ticket is on disk, or until the writer has ended.
    pub(super) fn wait(&self, ticket: Ticket) {
        let pending = self.lock();
        let unwritten = |pending: &mut Pending| !pending.ended && !self.is_written(ticket);
        drop(self.emptied.wait_while(pending, unwritten));
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn end(&self) -> &CancellationToken {
        &self.end
    }

    fn stop(&self) {
        self.lock().stopping = true;
        self.filled.notify_one();
    }

    fn abandon(&self) {
        let mut pending = self.lock();
        (pending.stopping, pending.abandoned) = (true, true);
        drop(pending);
        self.filled.notify_one();
    }

    fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Releases all waiters, because nothing more will be written.
    fn ended(&self) {
        self.lock().ended = true;
        self.emptied.notify_all();
        self.end.cancel();
    }

    /// Blocks until a batch is due. Returns `None` when the writer has to end: it was stopped and
    /// everything is written, or it was abandoned.
    fn next_batch(&self) -> Option<Batch> {
        let mut pending = self.lock();
        loop {
            pending = match pending.due_in() {
                Some(Duration::ZERO) => break,
                Some(delay) => {
                    let waited = self.filled.wait_timeout(pending, delay);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .filled
                    .wait(pending)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        if pending.abandoned {
            return None;
        }
        let stopping = pending.stopping;
        let monitors = std::mem::take(&mut pending.monitors);
        let barrier_waits = pending.take_barrier();
        let barrier = Barrier(pending.taken_barrier);
        let manager_changed = std::mem::take(&mut pending.manager) || barrier_waits;
        pending.deferred_since = None;
        drop(pending);
        let batch = self.fill(monitors, manager_changed, barrier);
        (!(stopping && batch.is_empty() && !barrier_waits)).then_some(batch)
    }

    /// Performs steps 2 and 3 of filling a batch (see the module documentation). The queue is not
    /// locked during the snapshot: LDK may be queueing a monitor update in a call that the snapshot
    /// waits for.
    fn fill(&self, monitors: Vec<MonitorWrite>, manager_changed: bool, barrier: Barrier) -> Batch {
        let cut = self
            .cut
            .get()
            .filter(|_| manager_changed || !monitors.is_empty());
        let manager = cut.map(|cut| KvWrite::manager(cut.manager_snapshot()));
        let mut pending = self.lock();
        let rows = std::mem::take(&mut pending.rows);
        pending.urgent = false;
        let values = std::mem::take(&mut pending.values).into_values().collect();
        if !pending.manager {
            pending.deferred_since = None;
        }
        Batch {
            monitors,
            manager,
            values,
            rows,
            ticket: Ticket(pending.last_ticket),
            barrier,
        }
    }

    /// Notifies everything that waits for this batch.
    fn complete(&self, batch: &Batch) {
        {
            // Under the lock, so that no thread in `wait` misses the change.
            let _pending = self.lock();
            self.written.send_replace(batch.ticket);
            self.passed.send_replace(batch.barrier);
        }
        self.emptied.notify_all();
        let updates: Vec<_> = batch
            .monitors
            .iter()
            .filter_map(MonitorWrite::completes)
            .collect();
        if let (Some(cut), false) = (self.cut.get(), updates.is_empty()) {
            cut.monitors_written(&updates);
        }
    }

    fn report(&self, health: Health) {
        self.health.send_if_modified(|last| {
            let changed = *last != health;
            match (&health, changed) {
                (Health::Failing(why), true) => tracing::error!(
                    "the database is not writable: {why}. Payments and channels are paused until it is; \
                     retrying every second"
                ),
                (Health::Writing, true) => tracing::info!("the database is writable again"),
                (_, false) => {}
            }
            *last = health;
            changed
        });
    }

    /// Waits for the retry interval, or until the node stops. Returns whether it stops.
    fn pause(&self) -> bool {
        let pending = self.lock();
        let running = |pending: &mut Pending| !pending.stopping;
        let (pending, _) = self
            .filled
            .wait_timeout_while(pending, RETRY_INTERVAL, running)
            .unwrap_or_else(PoisonError::into_inner);
        pending.stopping
    }
}

/// The contents of one commit.
struct Batch {
    monitors: Vec<MonitorWrite>,
    manager: Option<KvWrite>,
    values: Vec<KvWrite>,
    rows: Vec<Box<dyn Change>>,
    ticket: Ticket,
    /// The last barrier that was requested before the batch was filled.
    barrier: Barrier,
}

impl Batch {
    /// Lets tests make the writer panic here.
    fn may_panic(&self) {
        if !self.monitors.is_empty() {
            panics::at(panics::Place::Writer);
        }
    }

    fn is_empty(&self) -> bool {
        self.monitors.is_empty()
            && self.manager.is_none()
            && self.values.is_empty()
            && self.rows.is_empty()
    }

    /// Returns all changes in the order in which they are applied.
    fn changes(&self) -> impl Iterator<Item = &dyn Change> + Clone {
        let monitors = self.monitors.iter().map(|write| write as &dyn Change);
        let values = self.manager.iter().chain(&self.values);
        monitors
            .chain(values.map(|write| write as &dyn Change))
            .chain(self.rows.iter().map(|row| row.as_ref() as &dyn Change))
    }
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
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
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
    while let Some(batch) = queue.next_batch() {
        batch.may_panic();
        crash_points::at_commit();
        let start = Instant::now();
        write(queue, path, &mut db, &batch)?;
        measure(&batch, start.elapsed());
        queue.report(Health::Writing);
        queue.complete(&batch);
    }
    Ok(())
}

/// Updates the metrics of the database.
fn measure(batch: &Batch, took: Duration) {
    metrics::counter!("ampd_commits_total").increment(1);
    metrics::histogram!("ampd_commit_seconds").record(took);
    if let Some(manager) = &batch.manager {
        metrics::gauge!("ampd_manager_bytes").set(manager.len() as f64);
    }
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
