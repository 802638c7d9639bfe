//! What the owner says of transactions and coins: labels and leases, kept by the storage room.

use bitcoin::{OutPoint, Txid};

use super::log::ChangeLogError;

/// A coin that is kept for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub coin: OutPoint,
    /// Chosen by whoever asked for it; who knows it may end the lease.
    pub id: [u8; 32],
    /// Seconds since 1970.
    pub expires_at: u64,
}

/// Where notes are kept. As with [`ChangeLog`](super::ChangeLog), no method that writes may wait for
/// the disk.
pub trait NoteBook: Send + Sync {
    /// All labels.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn labels(&self) -> Result<Vec<(Txid, String)>, ChangeLogError>;

    /// All leases; those that have ended may be among them.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn leases(&self) -> Result<Vec<Lease>, ChangeLogError>;

    /// Keeps a label instead of an earlier one.
    fn put_label(&self, txid: Txid, label: &str);

    /// Keeps a lease instead of an earlier one; those that ended before `now` (seconds since 1970)
    /// may go.
    fn put_lease(&self, lease: Lease, now: u64);

    /// Forgets a lease.
    fn drop_lease(&self, coin: OutPoint);
}
