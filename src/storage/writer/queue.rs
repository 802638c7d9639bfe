//! The queue of changes, and the order in which they are taken into a batch.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::{Barrier, Health, RETRY_INTERVAL, SnapshotSource, Ticket};
use crate::storage::Change;
use crate::storage::kv_write::{KvWrite, Name};
use crate::storage::manager_log::{ManagerLog, ManagerWrite};
use crate::storage::monitor_write::MonitorWrite;
use crate::sync::lock;

/// Maximum time that a change which nothing waits for is held back to share a commit: a manager that
/// changed without a monitor update, a value of LDK's, a row that a monitor update is about to
/// follow. This saves half of all commits; no guarantee depends on it.
pub(super) const MAX_COMMIT_DELAY: Duration = Duration::from_millis(50);

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
pub(in crate::storage) struct Queue {
    pending: Mutex<Pending>,
    filled: Condvar,
    emptied: Condvar,
    source: OnceLock<Arc<dyn SnapshotSource>>,
    written: watch::Sender<Ticket>,
    passed: watch::Sender<Barrier>,
    pub(super) health: watch::Sender<Health>,
    /// Cancelled when the writer ends.
    end: CancellationToken,
    /// Maximum database size in pages; simulates a full disk.
    #[cfg(test)]
    pub(super) max_pages: std::sync::atomic::AtomicU32,
}

impl Queue {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            pending: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            source: OnceLock::new(),
            written: watch::Sender::new(Ticket(0)),
            passed: watch::Sender::new(Barrier(0)),
            health: watch::Sender::new(Health::Writing),
            end: CancellationToken::new(),
            #[cfg(test)]
            max_pages: super::tests::UNLIMITED_PAGES.into(),
        })
    }

    /// Locks the queue, also after a thread panicked while holding the lock: each change of the
    /// queue is a single statement, so the queue is still consistent.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        lock(&self.pending)
    }

    pub(in crate::storage) fn submit(&self, change: Box<dyn Change>) -> Ticket {
        let mut pending = self.lock();
        pending.urgent = true;
        let ticket = pending.push(change);
        drop(pending);
        self.filled.notify_one();
        ticket
    }

    /// Like [`Queue::submit`], but the change may be held back for [`MAX_COMMIT_DELAY`].
    pub(in crate::storage) fn submit_deferred(&self, change: Box<dyn Change>) -> Ticket {
        let mut pending = self.lock();
        pending.deferred_since.get_or_insert_with(Instant::now);
        let ticket = pending.push(change);
        drop(pending);
        self.filled.notify_one();
        ticket
    }

    pub(in crate::storage) fn submit_monitor(&self, write: MonitorWrite) {
        self.lock().monitors.push(write);
        self.filled.notify_one();
    }

    /// Requests that the next batch includes a snapshot of the manager.
    pub(in crate::storage) fn manager_changed(&self) {
        let mut pending = self.lock();
        pending.manager = true;
        pending.deferred_since.get_or_insert_with(Instant::now);
        drop(pending);
        self.filled.notify_one();
    }

    /// Requests a batch that is filled after this call and includes a snapshot of the manager.
    pub(in crate::storage) fn barrier(&self) -> Barrier {
        let mut pending = self.lock();
        pending.last_barrier += 1;
        let barrier = Barrier(pending.last_barrier);
        drop(pending);
        self.filled.notify_one();
        barrier
    }

    pub(in crate::storage) fn passed(&self) -> watch::Receiver<Barrier> {
        self.passed.subscribe()
    }

    /// Queues a value that is not urgent: LDK writes some, such as its scores, far more often than
    /// they need to be on disk.
    pub(in crate::storage) fn submit_value(&self, write: KvWrite) {
        let mut pending = self.lock();
        pending.values.insert(write.name.clone(), write);
        pending.deferred_since.get_or_insert_with(Instant::now);
        drop(pending);
        self.filled.notify_one();
    }

    /// Sets the node whose manager is included in batches from now on.
    pub(in crate::storage) fn attach(&self, source: Arc<dyn SnapshotSource>) {
        // A second node on the same store would be a bug; the first one is kept.
        let _ = self.source.set(source);
    }

    pub(in crate::storage) fn written(&self) -> watch::Receiver<Ticket> {
        self.written.subscribe()
    }

    pub(in crate::storage) fn is_written(&self, ticket: Ticket) -> bool {
        *self.written.borrow() >= ticket
    }

    /// Blocks until the row with this ticket is on disk, or until the writer has ended.
    pub(in crate::storage) fn wait(&self, ticket: Ticket) {
        let pending = self.lock();
        let unwritten = |pending: &mut Pending| !pending.ended && !self.is_written(ticket);
        drop(self.emptied.wait_while(pending, unwritten));
    }

    pub(in crate::storage) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(in crate::storage) fn end(&self) -> &CancellationToken {
        &self.end
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.filled.notify_one();
    }

    pub(super) fn abandon(&self) {
        let mut pending = self.lock();
        (pending.stopping, pending.abandoned) = (true, true);
        drop(pending);
        self.filled.notify_one();
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Releases all waiters, because nothing more will be written.
    pub(super) fn ended(&self) {
        self.lock().ended = true;
        self.emptied.notify_all();
        self.end.cancel();
    }

    /// Blocks until a batch is due. Returns `None` when the writer has to end: it was stopped and
    /// everything is written, or it was abandoned.
    pub(super) fn next_batch(&self, log: &mut ManagerLog) -> Option<Batch> {
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
        // Not locked during the snapshot: LDK may be queueing a monitor update in a call that the
        // snapshot waits for.
        drop(pending);
        let source = self
            .source
            .get()
            .filter(|_| manager_changed || !monitors.is_empty());
        let manager = source.map(|source| log.write(|bytes| source.manager_snapshot(bytes)));
        let batch = self.fill(monitors, manager, barrier);
        (!(stopping && batch.is_empty() && !barrier_waits)).then_some(batch)
    }

    /// Performs step 3 of filling a batch (see the module documentation).
    fn fill(
        &self,
        monitors: Vec<MonitorWrite>,
        manager: Option<ManagerWrite>,
        barrier: Barrier,
    ) -> Batch {
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
    pub(super) fn complete(&self, batch: &Batch) {
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
        if let (Some(source), false) = (self.source.get(), updates.is_empty()) {
            source.monitors_written(&updates);
        }
    }

    pub(super) fn report(&self, health: Health) {
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
    pub(super) fn pause(&self) -> bool {
        let pending = self.lock();
        let running = |pending: &mut Pending| !pending.stopping;
        let (pending, _) = self
            .filled
            .wait_timeout_while(pending, RETRY_INTERVAL, running)
            .unwrap_or_else(PoisonError::into_inner);
        pending.stopping
    }
}
