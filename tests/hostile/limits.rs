//! What a stranger may cost, for a node on a board with 512 MB and an SD card.

use std::time::Duration;

const MEGABYTE: u64 = 1 << 20;

/// Resident memory, bytes more than before.
pub const MEMORY: u64 = 100 * MEGABYTE;
/// The database, bytes more than before.
pub const DATABASE: u64 = 5 * MEGABYTE;
/// The log beside the database holds 16 MiB before SQLite brings it into the database; a large commit may come on top.
pub const DATABASE_LOG: u64 = 24 * MEGABYTE;
/// The log, bytes for each minute that has begun.
pub const LOG_PER_MINUTE: u64 = MEGABYTE;
/// File descriptors, more than before. A process has 1,024 unless somebody raises it.
pub const DESCRIPTORS: u64 = 400;
/// File descriptors that may be left when the strangers have gone: honest connections, some of them new.
pub const DESCRIPTORS_LEFT: u64 = 24;
/// Honest payments keep this share of their speed.
pub const SPEED: f64 = 0.5;
/// A forced close and a claim are in the mempool after this time.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// A newcomer has a channel after this time: others on its address get 15 seconds for their funding transaction
/// before one of them goes.
pub const NEWCOMER: Duration = Duration::from_secs(30);
