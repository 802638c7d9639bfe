//! The queue of changes, and the order in which they are taken into a batch.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::pending::Pending;
use super::{Barrier, Health, RETRY_INTERVAL, SnapshotSource, Ticket};
use crate::storage::Change;
use crate::storage::kv_write::KvWrite;
use crate::storage::manager_log::{ManagerLog, ManagerWrite};
use crate::storage::monitor_write::MonitorWrite;
use crate::sync::lock;

/// While it exists, commits wait for more changes, at most for 1 ms. See
/// [`Store::hold_commits`](crate::storage::Store::hold_commits).
pub struct CommitHold(Arc<Queue>);

impl Drop for CommitHold {
    fn drop(&mut self) {
        let mut pending = self.0.lock();
        pending.holds = pending.holds.saturating_sub(1);
        let is_due = pending.urgent_since.is_some();
        drop(pending);
        if is_due {
            self.0.filled.notify_one();
        }
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
        pending.note_urgent();
        let ticket = pending.push(change);
        drop(pending);
        self.filled.notify_one();
        ticket
    }

    /// Like [`Queue::submit`], but the change may be held back for [`SHORT_COMMIT_DELAY`].
    pub(in crate::storage) fn submit_soon(&self, change: Box<dyn Change>) -> Ticket {
        let mut pending = self.lock();
        pending.soon_since.get_or_insert_with(Instant::now);
        let ticket = pending.push(change);
        drop(pending);
        self.filled.notify_one();
        ticket
    }

    /// Like [`Queue::submit`], but the change may be held back for [`MAX_COMMIT_DELAY`].
    pub(in crate::storage) fn submit_deferred(&self, change: Box<dyn Change>) -> Ticket {
        let mut pending = self.lock();
        pending.note_deferred();
        let ticket = pending.push(change);
        drop(pending);
        self.filled.notify_one();
        ticket
    }

    pub(in crate::storage) fn submit_monitor(&self, write: MonitorWrite) {
        let mut pending = self.lock();
        match write.is_urgent() {
            true => pending.note_urgent(),
            false => pending.note_deferred(),
        }
        pending.monitors.push(write);
        drop(pending);
        self.filled.notify_one();
    }

    /// Delays commits while messages of a peer are being processed, so that the changes of all of them
    /// share a commit: `revoke_and_ack` usually comes with a `commitment_signed`.
    pub(in crate::storage) fn hold(self: &Arc<Self>) -> CommitHold {
        self.lock().holds += 1;
        CommitHold(self.clone())
    }

    /// Requests that the next batch includes a snapshot of the manager.
    pub(in crate::storage) fn manager_changed(&self) {
        let mut pending = self.lock();
        pending.manager = true;
        pending.note_deferred();
        drop(pending);
        self.filled.notify_one();
    }

    /// Requests a batch that is filled after this call and includes a snapshot of the manager.
    pub(in crate::storage) fn barrier(&self) -> Barrier {
        let mut pending = self.lock();
        pending.note_urgent();
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
        pending.note_deferred();
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
        let barrier_waits = pending.take_barrier();
        let barrier = Barrier(pending.taken_barrier);
        let manager_changed =
            std::mem::take(&mut pending.manager) || barrier_waits || !pending.monitors.is_empty();
        pending.urgent_since = None;
        pending.soon_since = None;
        pending.deferred_since = None;
        // Not locked during the snapshot: LDK may be queueing a monitor update in a call that the
        // snapshot waits for.
        drop(pending);
        let mut monitors = Vec::new();
        let mut cut = || monitors = self.take_monitors();
        let manager = match self.source.get() {
            Some(source) if manager_changed => {
                Some(log.write(|bytes| source.manager_snapshot(bytes, &mut cut)))
            }
            // Updates that were queued a moment ago need a snapshot.
            Some(_) => None,
            None => {
                cut();
                None
            }
        };
        let batch = self.fill(monitors, manager, barrier);
        (!(stopping && batch.is_empty() && !barrier_waits)).then_some(batch)
    }

    fn take_monitors(&self) -> Vec<MonitorWrite> {
        std::mem::take(&mut self.lock().monitors)
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
        pending.soon_since = None;
        if pending.monitors.is_empty() && pending.last_barrier == pending.taken_barrier {
            pending.urgent_since = None;
        }
        let values = std::mem::take(&mut pending.values).into_values().collect();
        if !pending.manager && pending.monitors.is_empty() {
            pending.deferred_since = None;
        }
        let batch = Batch {
            monitors,
            manager,
            values,
            rows,
            ticket: Ticket(pending.last_ticket),
            barrier,
        };
        pending.set_pace(&batch);
        batch
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
