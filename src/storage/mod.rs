//! Persistent storage: one SQLite file, one writer thread, and consistent commits.
//!
//! The invariant that everything else relies on (see ARCHITECTURE.md): each commit holds the
//! channel monitors, a channel manager that includes all of their updates, and rows for every event
//! that the manager no longer replays. `writer` keeps that order; [`monitors`] and `kv` implement
//! LDK's persistence traits; the other files hold the tables, each with its rows and queries. There
//! is no SQL outside this folder.
//!
//! To write, [`Store::submit`] queues a [`Change`] and returns a [`Ticket`]; [`Store::durable`]
//! waits until it is on disk. To read, [`Store::read`] runs a query on its own connection, which
//! sees committed data only.

pub mod channels;
mod creation_days;
mod delta;
pub mod donations;
mod error;
pub mod forwards;
pub mod headers;
pub mod invoices;
mod kv;
mod kv_write;
mod lock;
pub mod macaroons;
mod manager_log;
mod monitor_write;
pub mod monitors;
pub mod payments;
pub mod peer_storage;
pub mod peers;
mod schema;
mod sql;
mod store;
pub mod wallet;
pub mod wallet_notes;
mod writer;

pub use error::{NO_OLD_COPY, StorageError};
pub use lock::DirectoryLock;
pub use sql::{Change, Subject};
pub use store::Store;
pub use writer::{Barrier, CommitHold, Health, SnapshotSource, Ticket};
