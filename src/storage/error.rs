//! What can go wrong with the database, in one line that says what to do.

use std::path::PathBuf;

/// Follows what is damaged. "Restore a backup" would be the usual advice, and the most expensive one:
/// with an outdated channel state a node publishes revoked commitments.
pub const NO_OLD_COPY: &str = "do not start ampd with an older copy of the data directory or with a \
    new one in its place: outdated channel state loses the channel's money. Keep everything as it is \
    and read docs/recovery.md";

/// Why the data directory or the database in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process holds the lock file.
    #[error(
        "data directory {} is in use by another ampd; stop it or choose another `data-dir`",
        .0.display()
    )]
    InUse(PathBuf),
    /// A directory or the lock file cannot be created or opened.
    #[error("cannot use {}: {source}; check its permissions or choose another `data-dir`", .path.display())]
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The schema is from a later version of ampd.
    #[error(
        "database {} has schema {found}, this ampd knows up to {known}; \
         run the newer ampd that wrote it",
        .path.display()
    )]
    NewerSchema {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// The database belongs to another network or another node.
    #[error(
        "data directory {} belongs to {what} {found}, not {expected}; \
         choose another `data-dir` or correct the configuration",
        .path.display()
    )]
    Foreign {
        path: PathBuf,
        what: &'static str,
        found: String,
        expected: String,
    },
    /// SQLite refused.
    #[error("database {}: {source}", .path.display())]
    Sqlite {
        path: PathBuf,
        source: rusqlite::Error,
    },
    /// A stored value is not what we write.
    #[error("database: {0} is damaged; {NO_OLD_COPY}")]
    Damaged(String),
    /// A commit that can never succeed. Nothing of it is on disk.
    #[error(
        "{row} cannot be written to the database: {source}. The node stops, because it must not go on \
         without it; the last commit is whole. Please report this; do not restore an older copy of the \
         database, which loses money"
    )]
    Unwritable {
        row: String,
        source: rusqlite::Error,
    },
    /// The node stops before everything could be written.
    #[error("not everything could be written before the stop ({0}); nothing is lost, start again")]
    Unwritten(String),
}
