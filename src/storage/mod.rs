//! All that the node keeps: one SQLite file, one writer, and every commit a consistent cut.
//!
//! The one rule that everything else stands on (see ARCHITECTURE.md): each commit holds the channel
//! monitors, a channel manager that knows all of them, and rows that know all that the manager has
//! forgotten. `writer` keeps that order; [`monitors`] and [`kv`] are what LDK sees of it; the other
//! files are the tables, each with its rows and its queries. There is no SQL outside this folder.
//!
//! Writing: [`Store::submit`] queues a [`Change`] and returns a [`Ticket`]; [`Store::durable`] waits
//! until it is on disk. Reading: [`Store::read`] on a connection of its own, which sees what was
//! committed.

pub mod channels;
pub mod donations;
mod error;
pub mod forwards;
pub mod headers;
pub mod invoices;
pub mod kv;
mod lock;
pub mod macaroons;
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
pub use writer::{Barrier, Cut, Health, Ticket};
