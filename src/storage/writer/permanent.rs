//! Permanent failures: commits that fail because one of their changes can never be written.
//!
//! Retrying the same batch would block the node forever, and after a restart LDK would make the same
//! change again. So each change of the batch is tried separately. A change that is informational
//! only is skipped and logged as an error. If funds depend on the failing change, nothing is
//! committed and the node stops.

use rusqlite::{Connection, ErrorCode, Transaction};

use crate::storage::{Change, Subject};

/// The reason why a batch was not committed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Disk full, database busy, or an I/O error: the same batch may succeed later.
    Temporary(rusqlite::Error),
    /// The batch can never be committed.
    Permanent {
        /// Name of the change that cannot be written.
        row: String,
        source: rusqlite::Error,
    },
}

impl Failure {
    fn of_database(source: rusqlite::Error) -> Self {
        Self::Permanent {
            row: "the current batch of changes".into(),
            source,
        }
    }
}

/// The cause of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The disk, the operating system, or another process that has locked the database.
    Environment,
    /// The database file is damaged. Anything read from it, and so anything written, may be wrong.
    Database,
    /// The change: it violates a constraint, a value cannot be converted, or its SQL does not match
    /// the schema.
    Change,
}

fn fault(error: &rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted,
        ) => Fault::Environment,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Database,
        _ => Fault::Change,
    }
}

/// Commits all changes in one transaction. Changes that can never be written are skipped if they are
/// informational; otherwise nothing is committed.
pub(super) fn commit<'a>(
    db: &mut Connection,
    changes: impl Iterator<Item = &'a dyn Change> + Clone,
) -> Result<(), Failure> {
    let Err(error) = commit_all(db, changes.clone()) else {
        return Ok(());
    };
    match fault(&error) {
        Fault::Environment => Err(Failure::Temporary(error)),
        Fault::Database => Err(Failure::of_database(error)),
        Fault::Change => commit_writable(db, changes),
    }
}

fn commit_all<'a>(
    db: &mut Connection,
    mut changes: impl Iterator<Item = &'a dyn Change>,
) -> rusqlite::Result<()> {
    let tx = begin(db)?;
    changes.try_for_each(|change| change.apply(&tx))?;
    tx.commit()
}

fn begin(db: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
}

fn commit_writable<'a>(
    db: &mut Connection,
    mut changes: impl Iterator<Item = &'a dyn Change>,
) -> Result<(), Failure> {
    let mut skipped = Vec::new();
    let mut tx = begin(db).map_err(Failure::Temporary)?;
    changes.try_for_each(|change| write_or_skip(&mut tx, change, &mut skipped))?;
    tx.commit().map_err(|error| match fault(&error) {
        Fault::Environment => Failure::Temporary(error),
        Fault::Database | Fault::Change => Failure::of_database(error),
    })?;
    for (row, error) in skipped {
        tracing::error!(
            "{row} cannot be written to the database and was skipped: {error}. No funds depend on \
             it, so the node continues; please report this"
        );
        metrics::counter!("ampd_rows_left_out_total").increment(1);
    }
    Ok(())
}

fn write_or_skip(
    tx: &mut Transaction<'_>,
    change: &dyn Change,
    skipped: &mut Vec<(String, rusqlite::Error)>,
) -> Result<(), Failure> {
    if let Some(mut parts) = change.parts().map(<[_]>::iter) {
        return parts.try_for_each(|part| write_or_skip(tx, part.as_ref(), skipped));
    }
    // Dropping the savepoint without a commit rolls back the change.
    let savepoint = tx.savepoint().map_err(Failure::Temporary)?;
    let Err(error) = change.apply(&savepoint) else {
        return savepoint.commit().map_err(Failure::Temporary);
    };
    match (fault(&error), change.subject()) {
        (Fault::Environment, _) => Err(Failure::Temporary(error)),
        (Fault::Database, _) => Err(Failure::of_database(error)),
        (Fault::Change, Subject::Vital(row)) => Err(Failure::Permanent { row, source: error }),
        (Fault::Change, Subject::Informative(row)) => {
            skipped.push((row, error));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
