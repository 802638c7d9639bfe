//! The one writer: takes all that waits, makes it durable in one commit, then answers.
//!
//! A commit is a consistent cut of the node because of the order in which a batch is filled:
//! 1. the monitor updates that wait,
//! 2. then a snapshot of the channel manager, which knows all of them,
//! 3. then the rows and values that wait, which know all that the snapshot has forgotten.
//!
//! So on disk the manager is never behind a monitor (LDK would force-close the channel) and our rows
//! are never behind the manager. There is no timer: a batch is as large as the load, and the next
//! one fills while this one is being synced. Only what nobody waits for waits for company.
//!
//! If a commit fails, nothing is answered and the same batch is tried again: LDK lets no message
//! out before its monitor update is complete, so channels stand still and no money moves. If it can
//! never succeed, the change that is at fault is left out or the writer ends (see `permanent`).

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

/// How long that for which nobody waits (a manager that changed without a monitor update, a value of
/// LDK's, a row that a monitor update is about to follow) waits for something to share a commit with.
/// Half of all commits are saved by it, and nothing that was promised depends on it.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long to wait before a failed commit is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often a failing commit is tried again once the node stops.
const LAST_ATTEMPTS: u32 = 3;

/// Name of the writer's thread.
const THREAD: &str = "storage";

/// A place in the queue of rows; durable once the writer has passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket of no rows at all: always on disk.
    pub const NOTHING: Self = Self(0);
}

/// A moment in the life of LDK: passed once a commit holds all that LDK had done until then. See
/// [`Store::barrier`](super::Store::barrier).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Barrier(u64);

/// Whether commits succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The last commit succeeded.
    Writing,
    /// Commits fail, for this reason. Nothing moves until they succeed again.
    Failing(String),
}

/// What the writer needs of the running node.
pub trait Cut: Send + Sync {
    /// `ChannelManager::encode()`.
    fn manager_snapshot(&self) -> Vec<u8>;
    /// These monitor updates are on disk: LDK may go on.
    fn monitors_written(&self, updates: &[(ChannelId, u64)]);
}

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    monitors: Vec<MonitorWrite>,
    rows: Vec<Box<dyn Change>>,
    /// Somebody waits for one of the rows.
    hurry: bool,
    /// LDK's values by their names: a later write of a name replaces an earlier one that waits.
    values: HashMap<Name, KvWrite>,
    /// The manager goes into the next batch.
    manager: bool,
    /// When the first of those came for which nobody waits: the manager, a value, a row.
    patient_since: Option<Instant>,
    last_ticket: u64,
    last_barrier: u64,
    /// The last barrier that a batch has taken.
    taken_barrier: u64,
    stopping: bool,
    /// Stop at once, what waits is lost.
    abandoned: bool,
    /// The writer is no more: nothing will be written.
    ended: bool,
}

impl Waiting {
    fn push(&mut self, change: Box<dyn Change>) -> Ticket {
        self.rows.push(change);
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Takes the last barrier into a batch. False if an earlier batch has it.
    fn take_barrier(&mut self) -> bool {
        let is_new = self.last_barrier > self.taken_barrier;
        self.taken_barrier = self.last_barrier;
        is_new
    }

    /// How long until there is something to do; zero if there is.
    fn patience(&self) -> Option<Duration> {
        let barrier_waits = self.last_barrier > self.taken_barrier;
        if self.stopping || self.hurry || barrier_waits || !self.monitors.is_empty() {
            return Some(Duration::ZERO);
        }
        self.patient_since
            .map(|since| PATIENCE.saturating_sub(since.elapsed()))
    }
}

/// The queue that everybody fills and the writer empties.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    emptied: Condvar,
    cut: OnceLock<Arc<dyn Cut>>,
    written: watch::Sender<Ticket>,
    passed: watch::Sender<Barrier>,
    health: watch::Sender<Health>,
    /// Cancelled when the writer is no more.
    end: CancellationToken,
    /// The largest database that commits may make, in pages: a disk that is full.
    #[cfg(test)]
    most_pages: std::sync::atomic::AtomicU32,
}

impl Queue {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            cut: OnceLock::new(),
            written: watch::Sender::new(Ticket(0)),
            passed: watch::Sender::new(Barrier(0)),
            health: watch::Sender::new(Health::Writing),
            end: CancellationToken::new(),
            #[cfg(test)]
            most_pages: tests::PLENTY.into(),
        })
    }

    /// The queue stays sound if a thread panics while it holds the lock: every change of it is one
    /// statement.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit(&self, change: Box<dyn Change>) -> Ticket {
        let mut waiting = self.lock();
        waiting.hurry = true;
        let ticket = waiting.push(change);
        drop(waiting);
        self.filled.notify_one();
        ticket
    }

    /// Like [`Queue::submit`], but it waits for company.
    pub(super) fn submit_patiently(&self, change: Box<dyn Change>) -> Ticket {
        let mut waiting = self.lock();
        waiting.patient_since.get_or_insert_with(Instant::now);
        let ticket = waiting.push(change);
        drop(waiting);
        self.filled.notify_one();
        ticket
    }

    pub(super) fn submit_monitor(&self, write: MonitorWrite) {
        self.lock().monitors.push(write);
        self.filled.notify_one();
    }

    /// The manager changed: a snapshot of it goes into the next batch, soon.
    pub(super) fn manager_changed(&self) {
        let mut waiting = self.lock();
        waiting.manager = true;
        waiting.patient_since.get_or_insert_with(Instant::now);
        drop(waiting);
        self.filled.notify_one();
    }

    /// A batch that begins from now on, with a snapshot of the manager.
    pub(super) fn barrier(&self) -> Barrier {
        let mut waiting = self.lock();
        waiting.last_barrier += 1;
        let barrier = Barrier(waiting.last_barrier);
        drop(waiting);
        self.filled.notify_one();
        barrier
    }

    pub(super) fn passed(&self) -> watch::Receiver<Barrier> {
        self.passed.subscribe()
    }

    /// LDK writes some values, such as its scores, far more often than they need to be on disk.
    pub(super) fn submit_value(&self, write: KvWrite) {
        let mut waiting = self.lock();
        waiting.values.insert(write.name.clone(), write);
        waiting.patient_since.get_or_insert_with(Instant::now);
        drop(waiting);
        self.filled.notify_one();
    }

    /// From now on batches contain the manager.
    pub(super) fn attach(&self, cut: Arc<dyn Cut>) {
        // A second node on one store would be a bug of ours; the first stays.
        let _ = self.cut.set(cut);
    }

    pub(super) fn written(&self) -> watch::Receiver<Ticket> {
        self.written.subscribe()
    }

    pub(super) fn is_written(&self, ticket: Ticket) -> bool {
        *self.written.borrow() >= ticket
    }

    /// Blocks until the row with this ticket is on disk, or the writer has ended without it.
    pub(super) fn wait(&self, ticket: Ticket) {
        let waiting = self.lock();
        let unwritten = |waiting: &mut Waiting| !waiting.ended && !self.is_written(ticket);
        drop(self.emptied.wait_while(waiting, unwritten));
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
        let mut waiting = self.lock();
        (waiting.stopping, waiting.abandoned) = (true, true);
        drop(waiting);
        self.filled.notify_one();
    }

    fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Nobody need wait any more.
    fn ended(&self) {
        self.lock().ended = true;
        self.emptied.notify_all();
        self.end.cancel();
    }

    /// Blocks until there is something to write. `None`: it was asked to stop, and everything is
    /// written or nobody wants it to be.
    fn next_batch(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        loop {
            waiting = match waiting.patience() {
                Some(Duration::ZERO) => break,
                Some(patience) => {
                    let waited = self.filled.wait_timeout(waiting, patience);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .filled
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        if waiting.abandoned {
            return None;
        }
        let stopping = waiting.stopping;
        let monitors = std::mem::take(&mut waiting.monitors);
        let barrier_waits = waiting.take_barrier();
        let barrier = Barrier(waiting.taken_barrier);
        let manager_changed = std::mem::take(&mut waiting.manager) || barrier_waits;
        waiting.patient_since = None;
        drop(waiting);
        let batch = self.fill(monitors, manager_changed, barrier);
        (!(stopping && batch.is_empty() && !barrier_waits)).then_some(batch)
    }

    /// Steps 2 and 3 of the order that makes a cut consistent. The lock is not held over the
    /// snapshot: LDK may be queueing a monitor update while the snapshot waits for it to finish.
    fn fill(&self, monitors: Vec<MonitorWrite>, manager_changed: bool, barrier: Barrier) -> Batch {
        let cut = self
            .cut
            .get()
            .filter(|_| manager_changed || !monitors.is_empty());
        let manager = cut.map(|cut| KvWrite::manager(cut.manager_snapshot()));
        let mut waiting = self.lock();
        let rows = std::mem::take(&mut waiting.rows);
        waiting.hurry = false;
        let values = std::mem::take(&mut waiting.values).into_values().collect();
        if !waiting.manager {
            waiting.patient_since = None;
        }
        Batch {
            monitors,
            manager,
            values,
            rows,
            ticket: Ticket(waiting.last_ticket),
            barrier,
        }
    }

    /// Tells everybody who waits for this batch.
    fn complete(&self, batch: &Batch) {
        {
            // Under the lock, so that nobody in `wait` misses it.
            let _waiting = self.lock();
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
                    "cannot write to the database: {why}. Payments and channels are paused until it works; \
                     retrying every second"
                ),
                (Health::Writing, true) => tracing::info!("database writes work again"),
                (_, false) => {}
            }
            *last = health;
            changed
        });
    }

    /// Waits before another attempt; returns early when the node stops.
    fn pause(&self) -> bool {
        let waiting = self.lock();
        let stopping = |waiting: &mut Waiting| !waiting.stopping;
        let (waiting, _) = self
            .filled
            .wait_timeout_while(waiting, RETRY_INTERVAL, stopping)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.stopping
    }
}

/// What goes into one commit.
struct Batch {
    monitors: Vec<MonitorWrite>,
    manager: Option<KvWrite>,
    values: Vec<KvWrite>,
    rows: Vec<Box<dyn Change>>,
    ticket: Ticket,
    /// The last one that was asked for before the batch was filled.
    barrier: Barrier,
}

impl Batch {
    /// Where the tests let the writer panic.
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

    /// All that it writes, in order.
    fn changes(&self) -> impl Iterator<Item = &dyn Change> + Clone {
        let monitors = self.monitors.iter().map(|write| write as &dyn Change);
        let values = self.manager.iter().chain(&self.values);
        monitors
            .chain(values.map(|write| write as &dyn Change))
            .chain(self.rows.iter().map(|row| row.as_ref() as &dyn Change))
    }
}

/// The writer's thread. Dropping it without [`Writer::stop`] abandons what still waits, as a crash
/// would: the last commit is a consistent cut. Once it is dropped nothing is written any more, so
/// that the next one to open the database is alone.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<Result<(), StorageError>>>>,
}

impl Writer {
    /// Starts the thread on the database at `path`.
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

    /// Writes what waits and ends the thread. Blocks until then.
    ///
    /// # Errors
    /// [`StorageError::Unwritten`] if the last commits failed.
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
        // What it could not write is lost on purpose here. A row may own the last handle to the
        // store: then this is the writer's thread, which ends by itself.
        if std::thread::current().name() != Some(THREAD) {
            let _ = self.join();
        }
    }
}

/// Says that the writer is gone, however it ends.
struct Ended<'a>(&'a Queue);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the writer panicked; the node is shutting down";
            self.0.report(Health::Failing(why.into()));
        }
        self.0.ended();
    }
}

fn run(queue: &Queue, path: &std::path::Path, mut db: Connection) -> Result<(), StorageError> {
    let _ended = Ended(queue);
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

/// What the page of metrics tells of the disk.
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

/// Commits the batch, however long it takes; when the node stops, only a few more times.
///
/// # Errors
/// [`StorageError::Unwritable`] if it can never be committed; [`StorageError::Unwritten`] if the node
/// stops meanwhile.
fn write(
    queue: &Queue,
    path: &std::path::Path,
    db: &mut Connection,
    batch: &Batch,
) -> Result<(), StorageError> {
    let mut last_attempts = 0;
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
            last_attempts += 1;
            if last_attempts > LAST_ATTEMPTS || queue.is_abandoned() {
                return Err(StorageError::Unwritten(error.to_string()));
            }
            std::thread::sleep(RETRY_INTERVAL / 4);
        }
        // After an I/O error what SQLite holds in memory is not to be trusted: start from the file.
        if let Ok(fresh) = schema::connect(path) {
            *db = fresh;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
