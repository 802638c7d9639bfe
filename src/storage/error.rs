//! Errors of the database, each with what to do about it.

use std::path::PathBuf;

/// Warning appended to every report of damage. The usual advice, restoring a backup, is wrong here:
/// with outdated channel state a node broadcasts revoked commitments.
pub const NO_OLD_COPY: &str = "Do NOT start ampd from an old copy or with an empty data directory: \
    outdated or missing channel state can lose your funds. Keep all files as they are. \
    See docs/recovery.md.";

/// Reason why the data directory or its database cannot be used.
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
    /// The schema was written by a later version of ampd.
    #[error(
        "database {} has schema version {found}, but this ampd supports only up to {known}; \
         run the ampd version that wrote it, or a later one",
        .path.display()
    )]
    NewerSchema {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// The database belongs to another network or another node.
    #[error(
        "data directory {} belongs to {what} {found}, not to {expected}; \
         choose another `data-dir` or correct the configuration",
        .path.display()
    )]
    Foreign {
        path: PathBuf,
        what: &'static str,
        found: String,
        expected: String,
    },
    /// SQLite returned an error.
    #[error("database {}: {source}", .path.display())]
    Sqlite {
        path: PathBuf,
        source: rusqlite::Error,
    },
    /// A stored value cannot be decoded.
    #[error("database: {0} is damaged. {NO_OLD_COPY}")]
    Damaged(String),
    /// A change can never be committed. Its batch was rolled back.
    #[error(
        "{row} cannot be written to the database: {source}. The node stops because it cannot run safely \
         without it. All earlier commits are intact. Please report this. Do NOT start ampd from an old copy \
         of the database: outdated channel state can lose your funds"
    )]
    Unwritable {
        row: String,
        source: rusqlite::Error,
    },
    /// The node shut down before all changes were written.
    #[error(
        "some changes were not written to the database before shutdown ({0}); no funds are at risk, \
         start ampd again"
    )]
    Unwritten(String),
}
