//! The schema and its numbered migrations.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::StorageError;

/// Migration `n` (from 1) upgrades schema version `n - 1` to `n`. Never change a released one.
const MIGRATIONS: [&str; 15] = [
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_receiving.sql"),
    include_str!("migrations/0003_payment_lists.sql"),
    include_str!("migrations/0004_macaroons.sql"),
    include_str!("migrations/0005_wallet_notes.sql"),
    include_str!("migrations/0006_forwards.sql"),
    include_str!("migrations/0007_donations.sql"),
    include_str!("migrations/0008_donation_address.sql"),
    include_str!("migrations/0009_agreed_closes.sql"),
    include_str!("migrations/0010_block_headers.sql"),
    include_str!("migrations/0011_given_back.sql"),
    include_str!("migrations/0012_peer_storage.sql"),
    include_str!("migrations/0013_manager_deltas.sql"),
    include_str!("migrations/0014_list_pages.sql"),
    include_str!("migrations/0015_forward_pages.sql"),
];

/// Maximum time that a connection waits for a lock; only a checkpoint can delay it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Page cache of a connection in KiB. The writer and a few readers keep theirs; everything else is
/// left to the operating system's cache, however large the database is.
const CACHE_KIB: i64 = 4_096;

/// WAL size in pages (16 MiB) that triggers a checkpoint, which costs two more fsyncs. A commit writes
/// 10 to 100 pages, and many of them again and again: with SQLite's default of 1,000 pages, a busy
/// node would checkpoint every tenth commit or so.
const CHECKPOINT_PAGES: i64 = 4_096;

/// Opens a connection with the settings that durability depends on.
///
/// WAL and FULL: a commit is one append and one fsync, and a commit that returned survives a power
/// failure.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", "on")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // Overwrite deleted or moved content whenever its page is written anyway: otherwise copies of
    // secrets remain in unused space of pages (see `payments::delete`).
    db.pragma_update(None, "secure_delete", "fast")?;
    // Negative: KiB instead of pages.
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Migrates the database to the latest schema.
///
/// # Errors
/// [`StorageError::NewerSchema`] if a later ampd wrote it; the database is left unchanged.
pub(super) fn migrate(db: &mut Connection, path: &Path) -> Result<(), StorageError> {
    let sqlite = |source| StorageError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let found: u32 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(sqlite)?;
    let known = MIGRATIONS.len() as u32;
    if found > known {
        return Err(StorageError::NewerSchema {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (number, migration) in (1u32..).zip(MIGRATIONS).skip(found as usize) {
        step(db, number, migration).map_err(sqlite)?;
    }
    Ok(())
}

fn step(db: &mut Connection, number: u32, migration: &str) -> rusqlite::Result<()> {
    let tx = db.transaction()?;
    tx.execute_batch(migration)?;
    tx.pragma_update(None, "user_version", number)?;
    tx.commit()
}

/// A database as an earlier ampd left it.
#[cfg(test)]
pub(super) fn earlier(path: &Path, version: u32) -> Connection {
    let mut db = connect(path).unwrap();
    for (number, migration) in (1..=version).zip(MIGRATIONS) {
        step(&mut db, number, migration).unwrap();
    }
    db
}

/// Binds the database to a network and a node at first start and rejects others later.
///
/// # Errors
/// [`StorageError::Foreign`] if it belongs to another network or node.
pub(super) fn claim(
    db: &Connection,
    path: &Path,
    what: &'static str,
    expected: &str,
) -> Result<(), StorageError> {
    let sqlite = |source| StorageError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let query = "SELECT value FROM meta WHERE key = ?1";
    let found: Option<String> = db
        .query_row(query, [what], |row| row.get(0))
        .optional()
        .map_err(sqlite)?;
    match found {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(StorageError::Foreign {
            path: path.to_owned(),
            what,
            found,
            expected: expected.to_owned(),
        }),
        None => db
            .execute(
                "INSERT INTO meta (key, value) VALUES (?1, ?2)",
                params![what, expected],
            )
            .map(|_| ())
            .map_err(sqlite),
    }
}
