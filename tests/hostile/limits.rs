//! Limits for the damage by unknown peers, for a node on a board with 512 MB and an SD card.

use std::time::Duration;

const MEGABYTE: u64 = 1 << 20;

/// Growth of resident memory in bytes.
pub(crate) const MEMORY: u64 = 100 * MEGABYTE;
/// Growth of the database in bytes.
pub(crate) const DATABASE: u64 = 5 * MEGABYTE;
/// Growth of SQLite's WAL in bytes: it reaches 16 MiB before a checkpoint, plus a large commit.
pub(crate) const DATABASE_LOG: u64 = 24 * MEGABYTE;
/// Growth of the log in bytes per started minute.
pub(crate) const LOG_PER_MINUTE: u64 = MEGABYTE;
/// Growth of the number of file descriptors. The default limit of a process is 1,024.
pub(crate) const DESCRIPTORS: u64 = 400;
/// File descriptors that may remain after the attack, for example of new honest connections.
pub(crate) const DESCRIPTORS_LEFT: u64 = 24;
/// Minimum speed of honest payments relative to that without the attack.
pub(crate) const SPEED: f64 = 0.5;
/// Maximum time until a forced close and a claim are in the mempool.
pub(crate) const BROADCAST_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time until a new peer has a channel: other peers from its address have 15 seconds for their
/// funding transaction before one of them is evicted.
pub(crate) const NEW_PEER_TIMEOUT: Duration = Duration::from_secs(30);
