//! The storage that the wallet needs: a log of changes, labels and leases.

use std::error::Error;

use bitcoin::{OutPoint, Txid};

/// The error if stored changes, labels or leases cannot be read.
pub type ChangeLogError = Box<dyn Error + Send + Sync>;

/// Storage for an append-only list of opaque records.
///
/// A record must be durable before, or together with, anything that is queued after it (a ChannelManager
/// snapshot, a response to an API client). No method may wait for the disk, because they are called while
/// the wallet is locked. If the disk fails, the implementation must hold back everything queued later and
/// continue in the same order when it can.
pub trait ChangeLog: Send + Sync {
    /// Returns all records in the order in which they were appended.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn load(&self) -> Result<Vec<Vec<u8>>, ChangeLogError>;

    /// Appends a record.
    fn append(&self, record: Vec<u8>);

    /// Atomically replaces all records with one that merges them.
    fn replace(&self, record: Vec<u8>);
}

/// A reservation of a coin for an API client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The leased output.
    pub coin: OutPoint,
    /// The id chosen by the client. It is needed to release the lease.
    pub id: [u8; 32],
    /// Expiry in Unix seconds.
    pub expires_at: u64,
}

/// Storage for labels and leases. As with [`ChangeLog`], no method that writes may wait for the
/// disk.
pub trait NoteBook: Send + Sync {
    /// Returns all labels.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn labels(&self) -> Result<Vec<(Txid, String)>, ChangeLogError>;

    /// Returns all leases, possibly including expired ones.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn leases(&self) -> Result<Vec<Lease>, ChangeLogError>;

    /// Stores a label, replacing an earlier one.
    fn put_label(&self, txid: Txid, label: &str);

    /// Stores a lease, replacing an earlier one of the same coin. Leases that expired before `now` (Unix
    /// seconds) may be deleted.
    fn put_lease(&self, lease: Lease, now: u64);

    /// Deletes a lease.
    fn drop_lease(&self, coin: OutPoint);
}
