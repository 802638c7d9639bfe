//! Labels and leases, and the trait for their storage.

use bitcoin::{OutPoint, Txid};

use super::log::ChangeLogError;

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

/// Storage for labels and leases. As with [`ChangeLog`](super::ChangeLog), no method that writes may wait
/// for the disk.
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
