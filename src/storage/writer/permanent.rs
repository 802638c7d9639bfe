//! Commits that fail for a reason that time does not remove: one change cannot be written, ever.
//!
//! To try the same batch again would stop the node for good, and after a restart LDK would make the same
//! change again. So each change of the batch is tried by itself. One that somebody would only like to
//! read is left out, with an error in the log. Without one on which money depends nothing is committed,
//! and the node stops.

use rusqlite::{Connection, ErrorCode, Transaction};

use crate::storage::{Change, Subject};

/// Why a batch was not committed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Full, busy, an I/O error: the same batch may succeed later.
    Temporary(rusqlite::Error),
    /// It never will.
    Permanent {
        /// What cannot be written.
        row: String,
        source: rusqlite::Error,
    },
}

impl Failure {
    fn of_database(source: rusqlite::Error) -> Self {
        Self::Permanent {
            row: "anything".into(),
            source,
        }
    }
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The disk's, or that of somebody who holds the database.
    Surroundings,
    /// The file holds nonsense. Whatever is read from it, and so whatever is written, may be wrong.
    Database,
    /// That of the change: a constraint, a value that cannot be converted, SQL that does not fit.
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
        ) => Fault::Surroundings,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Database,
        _ => Fault::Change,
    }
}

/// Commits all of these in one transaction. If one of them cannot be written, ever, it is left out or
/// nothing is committed.
pub(super) fn commit<'a>(
    db: &mut Connection,
    changes: impl Iterator<Item = &'a dyn Change> + Clone,
) -> Result<(), Failure> {
    let Err(error) = commit_all(db, changes.clone()) else {
        return Ok(());
    };
    match fault(&error) {
        Fault::Surroundings => Err(Failure::Temporary(error)),
        Fault::Database => Err(Failure::of_database(error)),
        Fault::Change => commit_what_can_be(db, changes),
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

fn commit_what_can_be<'a>(
    db: &mut Connection,
    mut changes: impl Iterator<Item = &'a dyn Change>,
) -> Result<(), Failure> {
    let mut left_out = Vec::new();
    let mut tx = begin(db).map_err(Failure::Temporary)?;
    changes.try_for_each(|change| write_or_leave_out(&mut tx, change, &mut left_out))?;
    tx.commit().map_err(|error| match fault(&error) {
        Fault::Surroundings => Failure::Temporary(error),
        Fault::Database | Fault::Change => Failure::of_database(error),
    })?;
    for (row, error) in left_out {
        tracing::error!(
            "{row} cannot be written to the database and was skipped: {error}. No funds depend on \
             it, so the node continues; please report this"
        );
        metrics::counter!("ampd_rows_left_out_total").increment(1);
    }
    Ok(())
}

fn write_or_leave_out(
    tx: &mut Transaction<'_>,
    change: &dyn Change,
    left_out: &mut Vec<(String, rusqlite::Error)>,
) -> Result<(), Failure> {
    if let Some(mut parts) = change.parts().map(<[_]>::iter) {
        return parts.try_for_each(|part| write_or_leave_out(tx, part.as_ref(), left_out));
    }
    // Dropped without a commit it takes back what the change did.
    let savepoint = tx.savepoint().map_err(Failure::Temporary)?;
    let Err(error) = change.apply(&savepoint) else {
        return savepoint.commit().map_err(Failure::Temporary);
    };
    match (fault(&error), change.subject()) {
        (Fault::Surroundings, _) => Err(Failure::Temporary(error)),
        (Fault::Database, _) => Err(Failure::of_database(error)),
        (Fault::Change, Subject::Vital(row)) => Err(Failure::Permanent { row, source: error }),
        (Fault::Change, Subject::Informative(row)) => {
            left_out.push((row, error));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
