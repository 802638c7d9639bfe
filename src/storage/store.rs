//! The database handle shared by all modules.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::watch;

use super::kv::KvWrite;
use super::monitors::MonitorWrite;
use super::writer::{Barrier, Cut, Health, Ticket, Writer};
use super::{Change, StorageError, schema};

/// Name of the database file in the data directory.
const FILE: &str = "ampd.sqlite";
/// Maximum number of idle reader connections to keep.
const IDLE_READERS: usize = 4;

/// One node's database. Cheap to share by `Arc`.
pub struct Store {
    path: PathBuf,
    pub(super) writer: Writer,
    /// Idle ones; `None` once the store is closed.
    readers: Mutex<Option<Vec<Connection>>>,
}

impl Store {
    /// Opens the database in `directory`, or makes it, and starts the writer.
    ///
    /// # Errors
    /// If it cannot be opened, or a newer ampd wrote it.
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

    /// Ties the store to a network and a node at the first start.
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

    /// Where the database of a data directory is.
    pub fn path_in(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on commits contain the channel manager of this node.
    pub fn attach(&self, cut: Arc<dyn Cut>) {
        self.writer.queue.attach(cut);
    }

    /// Queues a change. It is written after all that was queued before it, or together with it.
    pub fn submit(&self, change: impl Change + 'static) -> Ticket {
        self.writer.queue.submit(Box::new(change))
    }

    /// Like [`Store::submit`] for a change that need not have a commit of its own: nobody waits for
    /// it, or something that does not wait is about to follow, such as the monitor update of the HTLC
    /// that the row tells of. It is on disk with that, or 50 ms later.
    pub fn submit_patiently(&self, change: impl Change + 'static) -> Ticket {
        self.writer.queue.submit_patiently(Box::new(change))
    }

    /// Waits until the change with this ticket is on disk; as long as the disk is full, if need be.
    pub async fn durable(&self, ticket: Ticket) {
        // The sender lives in `self`, so it cannot be gone while we wait.
        let _ = self
            .writer
            .queue
            .written()
            .wait_for(|written| *written >= ticket)
            .await;
    }

    /// Whether the change with this ticket is on disk.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        self.writer.queue.is_written(ticket)
    }

    /// Asks for a commit of all that LDK has done up to now, also in calls that are under way, with
    /// all rows that were queued before. [`Store::passed`] waits for it.
    ///
    /// The batch that takes the barrier begins later than this call, and has a snapshot of the
    /// manager. LDK encodes the manager under its `total_consistency_lock`, which every call that
    /// changes a channel holds (`force_close_broadcasting_latest_txn`, `claim_funds`, a message of a
    /// peer), so the snapshot waits for those that are under way. It holds what they have done: the
    /// manager keeps each monitor update until it is complete, also that of a channel it has closed.
    /// Rows and LDK's values are taken after the snapshot. Before [`Store::attach`] there is no
    /// snapshot; what LDK does then, it does from what is on disk.
    ///
    /// Not covered is what a monitor does by itself when a block is connected: it holds no such lock.
    /// It does the same again from the same block after a restart.
    pub fn barrier(&self) -> Barrier {
        self.writer.queue.barrier()
    }

    /// Waits until the barrier's commit is on disk; as long as the disk is full, if need be.
    pub async fn passed(&self, barrier: Barrier) {
        // The sender lives in `self`, so it cannot be gone while we wait.
        let mut passed = self.writer.queue.passed();
        let _ = passed.wait_for(|passed| *passed >= barrier).await;
    }

    /// Whether commits succeed, and when that changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.writer.queue.health()
    }

    /// Completes when nothing is written any more: the store was closed, or the writer ended because it
    /// cannot go on. [`Store::close`] tells why.
    pub async fn ended(&self) {
        self.writer.queue.end().cancelled().await;
    }

    /// Reads on a connection of its own; sees all that was committed, never what waits.
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
        // One that failed is dropped above: after an I/O error its memory is not to be trusted.
        if let Some(idle) = self.lock_readers().as_mut()
            && idle.len() < IDLE_READERS
        {
            idle.push(db);
        }
        Ok(found)
    }

    /// [`Store::read`] with the error that names the file.
    ///
    /// # Errors
    /// [`StorageError::Sqlite`].
    pub(super) fn query<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        self.read(query).map_err(|source| StorageError::Sqlite {
            path: self.path.clone(),
            source,
        })
    }

    /// Blocks until all rows that were submitted are on disk. For the start, before events flow, and
    /// for crash tests. Returns early only if the writer has ended.
    pub(crate) fn flush(&self) {
        let ticket = self.submit(Vec::new());
        self.writer.queue.wait(ticket);
    }

    /// Lets commits fail as on a full disk, from the next one on.
    #[cfg(test)]
    pub(crate) fn fill_disk(&self) {
        self.writer.fill_disk();
    }

    /// Lets commits succeed again.
    #[cfg(test)]
    pub(crate) fn clear_disk(&self) {
        self.writer.clear_disk();
    }

    /// Asks for a commit with a snapshot of the manager.
    pub fn manager_changed(&self) {
        self.writer.queue.manager_changed();
    }

    pub(super) fn submit_value(&self, write: KvWrite) {
        self.writer.queue.submit_value(write);
    }

    pub(super) fn submit_monitor(&self, write: MonitorWrite) {
        self.writer.queue.submit_monitor(write);
    }

    /// Writes what waits and ends the writer. Blocks. With its last connection SQLite brings
    /// everything into the one file and removes those beside it.
    ///
    /// # Errors
    /// [`StorageError::Unwritten`] if the disk is still full.
    pub fn close(&self) -> Result<(), StorageError> {
        let written = self.writer.stop();
        *self.lock_readers() = None;
        written
    }

    fn lock_readers(&self) -> std::sync::MutexGuard<'_, Option<Vec<Connection>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Preimages and shares are in the database: nobody else may read it. SQLite gives the files beside
/// it (-wal, -shm) the mode of the database.
fn restrict(path: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let refused = |source| StorageError::Directory {
        path: path.to_owned(),
        source,
    };
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600)))
        .map_err(refused)
}

#[cfg(test)]
mod tests;
