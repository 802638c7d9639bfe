//! The channel manager on disk: a base and the deltas since.
//!
//! Every commit includes the manager. It takes 3.4 kB per channel, but a payment changes only a few places of
//! it. So most commits write a delta; when the deltas of a base have grown as large as itself, a new base
//! replaces both. Each row has a checksum over everything before it, so that a damaged, missing or foreign
//! row is noticed at startup.

use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash, HashEngine, sha256};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::kv_write::Name;
use super::sql::array;
use super::{Change, Subject, delta};
use crash_points::Point;

type Checksum = [u8; 32];

/// The manager of the last commit, in memory. Empty before the first one: that writes a base.
#[derive(Default)]
pub(super) struct ManagerLog {
    stored: Vec<u8>,
    last: Option<Last>,
    /// A buffer for the next encoding.
    spare: Vec<u8>,
}

/// The last row.
#[derive(Clone, Copy)]
struct Last {
    seq: u32,
    checksum: Checksum,
    base_len: usize,
    deltas_len: usize,
}

impl Last {
    fn of_base(manager: &[u8]) -> Self {
        Self {
            seq: 0,
            checksum: sha256::Hash::hash(manager).to_byte_array(),
            base_len: manager.len(),
            deltas_len: 0,
        }
    }
}

impl ManagerLog {
    /// Returns the write that brings the disk to the manager that `encode` appends to a buffer.
    pub(super) fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> ManagerWrite {
        let start = Instant::now();
        let mut manager = std::mem::take(&mut self.spare);
        manager.clear();
        encode(&mut manager);
        let encoding = start.elapsed();
        let (last, delta) = match self.delta(&manager) {
            Some((last, delta)) => (last, Some(delta)),
            None => (Last::of_base(&manager), None),
        };
        ManagerWrite {
            manager,
            last,
            delta,
            encoding,
            comparing: start.elapsed().saturating_sub(encoding),
        }
    }

    /// Returns the delta, unless a base should be written.
    fn delta(&self, manager: &[u8]) -> Option<(Last, Vec<u8>)> {
        let last = self.last?;
        let delta = delta::between(&self.stored, manager)?;
        let deltas_len = last.deltas_len + delta.len();
        (deltas_len <= last.base_len).then(|| {
            let checksum = chained(&last.checksum, &delta);
            let next = Last {
                seq: last.seq + 1,
                checksum,
                deltas_len,
                ..last
            };
            (next, delta)
        })
    }

    /// Takes over a write that was committed.
    pub(super) fn committed(&mut self, write: ManagerWrite) {
        self.spare = std::mem::replace(&mut self.stored, write.manager);
        self.last = Some(write.last);
    }
}

/// A pending write of the manager.
pub(super) struct ManagerWrite {
    manager: Vec<u8>,
    last: Last,
    /// `None` to write the whole manager.
    delta: Option<Vec<u8>>,
    /// How long LDK took to encode the manager, while its channels stood still.
    pub(super) encoding: Duration,
    /// How long the search for differences took.
    pub(super) comparing: Duration,
}

impl ManagerWrite {
    /// The size of the manager, in bytes.
    pub(super) fn manager_len(&self) -> usize {
        self.manager.len()
    }

    /// The bytes to write.
    pub(super) fn len(&self) -> usize {
        self.delta.as_ref().map_or(self.manager.len(), Vec::len)
    }

    fn write_base(&self, db: &Connection) -> rusqlite::Result<()> {
        let Name([primary, secondary, key]) = Name::manager();
        db.prepare_cached("DELETE FROM manager_deltas")?
            .execute([])?;
        crash_points::at(Point::ManagerDeltasDeleted);
        db.prepare_cached("INSERT OR REPLACE INTO kv VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![primary, secondary, key, self.manager])?;
        self.write_row(db, &[])?;
        crash_points::at(Point::ManagerBase);
        Ok(())
    }

    fn write_row(&self, db: &Connection, delta: &[u8]) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT OR REPLACE INTO manager_deltas VALUES (?1, ?2, ?3)")?
            .execute(params![self.last.seq, self.last.checksum, delta])
            .map(|_| ())
    }
}

impl Change for ManagerWrite {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        match &self.delta {
            Some(delta) => {
                self.write_row(db, delta)?;
                crash_points::at(Point::ManagerDelta);
                Ok(())
            }
            None => self.write_base(db),
        }
    }

    fn subject(&self) -> Subject {
        Subject::Vital("the channel manager".into())
    }
}

/// Reads the manager of the last commit; `None` before the first.
///
/// # Errors
/// SQLite's error; [`Damaged`] says which part of the manager is not what was written.
pub(super) fn read(db: &Connection) -> rusqlite::Result<Result<Option<Vec<u8>>, Damaged>> {
    read_in(&db.unchecked_transaction()?)
}

/// Like [`read`], in an open transaction.
pub(super) fn read_in(
    transaction: &Transaction<'_>,
) -> rusqlite::Result<Result<Option<Vec<u8>>, Damaged>> {
    let Name(name) = Name::manager();
    let query = "SELECT value FROM kv WHERE primary_namespace = ?1
                 AND secondary_namespace = ?2 AND key = ?3";
    let base: Option<Vec<u8>> = transaction
        .query_row(query, name, |row| row.get(0))
        .optional()?;
    let rows = transaction
        .prepare("SELECT seq, checksum, delta FROM manager_deltas ORDER BY seq")?
        .query_map([], |row| {
            Ok(Row {
                seq: row.get("seq")?,
                checksum: array(row, "checksum")?,
                delta: row.get("delta")?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(base.map(|base| restore(base, rows)).transpose())
}

struct Row {
    seq: u32,
    checksum: Checksum,
    delta: Vec<u8>,
}

/// The part of the stored manager that is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damaged {
    #[error("the stored channel manager does not match its checksum")]
    Base,
    #[error("change {0} of the stored channel manager is missing or does not match its checksum")]
    Delta(u32),
}

/// Applies the deltas. A manager without rows was written by a version that stored no checksum.
fn restore(base: Vec<u8>, rows: Vec<Row>) -> Result<Vec<u8>, Damaged> {
    let mut rows = rows.into_iter();
    let Some(first) = rows.next() else {
        return Ok(base);
    };
    let mut checksum = sha256::Hash::hash(&base).to_byte_array();
    if first.seq != 0 || first.checksum != checksum {
        return Err(Damaged::Base);
    }
    let mut manager = base;
    for (expected, row) in (1..).zip(rows) {
        checksum = chained(&checksum, &row.delta);
        if row.seq != expected || row.checksum != checksum {
            return Err(Damaged::Delta(expected));
        }
        manager = delta::apply(&manager, &row.delta).ok_or(Damaged::Delta(expected))?;
    }
    Ok(manager)
}

fn chained(before: &Checksum, delta: &[u8]) -> Checksum {
    let mut engine = sha256::Hash::engine();
    engine.input(before);
    engine.input(delta);
    sha256::Hash::from_engine(engine).to_byte_array()
}

#[cfg(test)]
mod tests;
