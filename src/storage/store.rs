//! The database handle shared by all modules.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tokio::sync::watch;

use super::kv_write::KvWrite;
use super::monitor_write::MonitorWrite;
use super::writer::{Barrier, CommitHold, Health, SnapshotSource, Ticket, Writer};
use super::{Change, StorageError, schema};
use crate::sync::lock;

/// Name of the database file in the data directory.
const FILE: &str = "ampd.sqlite";
/// Maximum number of idle reader connections to keep.
const IDLE_READERS: usize = 4;

/// One node's database. Cheap to share by `Arc`.
pub struct Store {
    path: PathBuf,
    pub(super) writer: Writer,
    /// Idle connections; `None` once the store is closed.
    readers: Mutex<Option<Vec<Connection>>>,
}

impl Store {
    /// Opens or creates the database in `directory` and starts the writer.
    ///
    /// # Errors
    /// If the database cannot be opened or was written by a newer ampd.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        let path = Self::path_in(directory);
        let sqlite = |source| StorageError::Sqlite {
            path: path.clone(),
            source,
        };
        restrict(&path)?;
        let mut db = schema::connect(&path).map_err(sqlite)?;
        schema::migrate(&mut db, &path)?;
        let writer = Writer::start(path.clone(), db)?;
        Ok(Self {
            path,
            writer,
            readers: Mutex::new(Some(Vec::new())),
        })
    }

    /// Binds the database to a network and a node at first start, and checks them at later starts.
    ///
    /// # Errors
    /// [`StorageError::Foreign`] if it belongs to another network or node.
    pub fn claim(&self, network: &str, node_id: &str) -> Result<(), StorageError> {
        let db = schema::connect(&self.path).map_err(|source| StorageError::Sqlite {
            path: self.path.clone(),
            source,
        })?;
        schema::claim(&db, &self.path, "network", network)?;
        schema::claim(&db, &self.path, "node", node_id)
    }

    /// Returns the path of the database in a data directory.
    pub fn path_in(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// Returns the path of this database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the node whose channel manager is included in commits from now on.
    pub fn attach(&self, source: Arc<dyn SnapshotSource>) {
        self.writer.queue.attach(source);
    }

    /// Queues a change. It is committed after, or together with, all changes queued before it.
    pub fn submit(&self, change: impl Change + 'static) -> Ticket {
        self.writer.queue.submit(Box::new(change))
    }

    /// Like [`Store::submit`], for a change that does not need its own commit: nothing waits for it,
    /// or an urgent write is about to follow, such as the monitor update of the HTLC that the row
    /// describes. It is committed together with the next urgent write, or after 50 ms.
    pub fn submit_deferred(&self, change: impl Change + 'static) -> Ticket {
        self.writer.queue.submit_deferred(Box::new(change))
    }

    /// Like [`Store::submit`], for a change that a client waits for, but that a monitor update usually
    /// follows at once. It is committed together with the next urgent write, or after 1 ms.
    pub fn submit_soon(&self, change: impl Change + 'static) -> Ticket {
        self.writer.queue.submit_soon(Box::new(change))
    }

    /// Delays commits while a peer's messages are being processed, at most for 1 ms, so that the changes of
    /// all of them share a commit.
    pub fn hold_commits(&self) -> CommitHold {
        self.writer.queue.hold()
    }

    /// Waits until the change with this ticket is on disk. Does not return while commits fail.
    pub async fn durable(&self, ticket: Ticket) {
        // `self` owns the sender, so it cannot be dropped while we wait.
        let _ = self
            .writer
            .queue
            .written()
            .wait_for(|written| *written >= ticket)
            .await;
    }

    /// Returns whether the change with this ticket is on disk.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        self.writer.queue.is_written(ticket)
    }

    /// Requests a commit of everything that LDK has done so far, including calls in progress, and of
    /// all rows queued so far. [`Store::passed`] waits for it.
    ///
    /// The batch that contains the barrier is filled after this call and includes a snapshot of the
    /// manager. LDK encodes the manager under its `total_consistency_lock`, which every call that
    /// changes a channel holds (`force_close_broadcasting_latest_txn`, `claim_funds`, handling a
    /// peer's message), so the snapshot waits for calls in progress. It includes their effects: the
    /// manager keeps each monitor update until it is complete, also for a closed channel. Rows and
    /// LDK's values are taken after the snapshot. Before [`Store::attach`] there is no snapshot; LDK
    /// then acts only on state that is already on disk.
    ///
    /// Not covered are actions that a monitor takes on its own when a block is connected: they do not
    /// hold that lock. After a restart the monitor repeats them from the same block.
    pub fn barrier(&self) -> Barrier {
        self.writer.queue.barrier()
    }

    /// Waits until the barrier's commit is on disk. Does not return while commits fail.
    pub async fn passed(&self, barrier: Barrier) {
        // `self` owns the sender, so it cannot be dropped while we wait.
        let mut passed = self.writer.queue.passed();
        let _ = passed.wait_for(|passed| *passed >= barrier).await;
    }

    /// Returns whether the barrier's commit is on disk.
    pub fn is_passed(&self, barrier: Barrier) -> bool {
        *self.writer.queue.passed().borrow() >= barrier
    }

    /// Subscribes to the health of the writer: whether commits succeed.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.writer.queue.health()
    }

    /// Completes when the writer has ended: the store was closed, or a commit failed permanently.
    /// [`Store::close`] returns the reason.
    pub async fn ended(&self) {
        self.writer.queue.end().cancelled().await;
    }

    /// Runs a query on a separate connection, which sees committed data only, no queued changes.
    ///
    /// # Errors
    /// If the query fails.
    pub fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.lock_readers().as_mut().and_then(Vec::pop);
        let db = idle.map_or_else(|| schema::connect(&self.path), Ok)?;
        let found = query(&db)?;
        // A connection that failed was dropped above: its cache is not reliable after an I/O error.
        if let Some(idle) = self.lock_readers().as_mut()
            && idle.len() < IDLE_READERS
        {
            idle.push(db);
        }
        Ok(found)
    }

    /// Like [`Store::read`], with an error that names the database file.
    ///
    /// # Errors
    /// [`StorageError::Sqlite`] if the query fails.
    pub(super) fn query<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        self.read(query).map_err(|source| StorageError::Sqlite {
            path: self.path.clone(),
            source,
        })
    }

    /// Blocks until all submitted rows are on disk. Only for startup, before events are handled, and
    /// for crash tests. Returns early only if the writer has ended.
    pub(crate) fn flush(&self) {
        let ticket = self.submit(Vec::new());
        self.writer.queue.wait(ticket);
    }

    /// Makes all further commits fail as on a full disk.
    #[cfg(test)]
    pub(crate) fn fill_disk(&self) {
        self.writer.fill_disk();
    }

    /// Makes commits succeed again after [`Store::fill_disk`].
    #[cfg(test)]
    pub(crate) fn clear_disk(&self) {
        self.writer.clear_disk();
    }

    /// Requests a commit with a snapshot of the manager.
    pub fn manager_changed(&self) {
        self.writer.queue.manager_changed();
    }

    pub(super) fn submit_value(&self, write: KvWrite) {
        self.writer.queue.submit_value(write);
    }

    pub(super) fn submit_monitor(&self, write: MonitorWrite) {
        self.writer.queue.submit_monitor(write);
    }

    /// Writes all queued changes and ends the writer. Blocks until then. When the last connection is
    /// closed, SQLite checkpoints the WAL into the database file and removes the -wal and -shm files.
    ///
    /// # Errors
    /// [`StorageError::Unwritten`] if commits still fail; [`StorageError::Unwritable`] if a change can
    /// never be committed.
    pub fn close(&self) -> Result<(), StorageError> {
        let written = self.writer.stop();
        *self.lock_readers() = None;
        written
    }

    fn lock_readers(&self) -> std::sync::MutexGuard<'_, Option<Vec<Connection>>> {
        lock(&self.readers)
    }
}

/// Makes the database readable by its owner only, because it contains preimages and AMP shares.
/// SQLite gives the -wal and -shm files the same mode.
fn restrict(path: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let failed = |source| StorageError::Directory {
        path: path.to_owned(),
        source,
    };
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600)))
        .map_err(failed)
}

#[cfg(test)]
mod tests;
