//! A manager on disk: written as base and deltas, read again, and damaged in every way.

use rusqlite::Connection;

use super::*;
use crate::storage::schema;

/// A database at the latest schema, and the log of the process that writes it.
struct Disk {
    _directory: tempfile::TempDir,
    db: Connection,
    log: ManagerLog,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ampd.sqlite");
        let mut db = schema::connect(&path).unwrap();
        schema::migrate(&mut db, &path).unwrap();
        Self {
            _directory: directory,
            db,
            log: ManagerLog::default(),
        }
    }

    /// Commits a manager. Returns whether it was written as a delta.
    fn commit(&mut self, manager: &[u8]) -> bool {
        let write = self.log.write(|bytes| bytes.extend(manager));
        let is_delta = write.delta.is_some();
        write.apply(&self.db).unwrap();
        self.log.committed(write);
        is_delta
    }

    fn read(&self) -> Result<Option<Vec<u8>>, Damaged> {
        read(&self.db).unwrap()
    }

    fn deltas(&self) -> u32 {
        let query = "SELECT COUNT(*) FROM manager_deltas WHERE seq > 0";
        self.db.query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn damage(&self, sql: &str) {
        assert_eq!(self.db.execute(sql, []).unwrap(), 1, "{sql}");
    }
}

/// A manager with 100 channels after this number of payments.
fn manager(payments: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_be_bytes).collect();
    bytes[200_000] = payments;
    bytes.splice(300_000..300_000, vec![payments; usize::from(payments)]);
    bytes
}

/// A disk with a base and three deltas.
fn with_deltas() -> Disk {
    let mut disk = Disk::new();
    for payments in 0..4 {
        assert_eq!(disk.commit(&manager(payments)), payments > 0);
    }
    disk
}

#[test]
fn there_is_no_manager_before_the_first_commit() {
    assert_eq!(Disk::new().read(), Ok(None));
}

#[test]
fn manager_is_restored_from_base_and_deltas() {
    let disk = with_deltas();
    assert_eq!(disk.deltas(), 3);
    assert_eq!(disk.read(), Ok(Some(manager(3))));
}

#[test]
fn each_process_starts_with_a_base() {
    let mut disk = with_deltas();
    disk.log = ManagerLog::default();
    assert!(!disk.commit(&manager(4)));
    assert_eq!(disk.deltas(), 0);
    assert_eq!(disk.read(), Ok(Some(manager(4))));
}

#[test]
fn new_base_is_written_when_the_deltas_are_as_large_as_the_old_one() {
    let mut disk = Disk::new();
    let base: Vec<u8> = vec![1; 10_000];
    disk.commit(&base);
    let mut written = 0;
    for change in 0..30u8 {
        let mut next = base.clone();
        next[..1_000].fill(change);
        disk.commit(&next);
        written = written.max(disk.deltas());
        assert_eq!(disk.read(), Ok(Some(next)));
    }
    assert!((8..=10).contains(&written), "{written} deltas");
}

#[test]
fn failed_commit_can_be_repeated() {
    let mut disk = with_deltas();
    let write = disk.log.write(|bytes| bytes.extend(manager(9)));
    write.apply(&disk.db).unwrap();
    // SQLite reported an error although the commit is on disk.
    write.apply(&disk.db).unwrap();
    disk.log.committed(write);
    assert!(disk.commit(&manager(10)));
    assert_eq!(disk.read(), Ok(Some(manager(10))));
}

#[test]
fn manager_of_an_earlier_version_is_read() {
    let disk = Disk::new();
    let Name(name) = Name::manager();
    let [primary, secondary, key] = name;
    disk.db
        .execute(
            "INSERT INTO kv VALUES (?1, ?2, ?3, x'0102')",
            [primary, secondary, key],
        )
        .unwrap();
    assert_eq!(disk.read(), Ok(Some(vec![1, 2])));
}

#[test]
fn damaged_base_is_detected() {
    let disk = with_deltas();
    disk.damage("UPDATE kv SET value = zeroblob(length(value))");
    assert_eq!(disk.read(), Err(Damaged::Base));
}

#[test]
fn base_without_its_row_is_detected() {
    let disk = with_deltas();
    disk.damage("DELETE FROM manager_deltas WHERE seq = 0");
    assert_eq!(disk.read(), Err(Damaged::Base));
}

#[test]
fn damaged_delta_is_detected() {
    let disk = with_deltas();
    disk.damage("UPDATE manager_deltas SET delta = substr(delta, 1, 20) WHERE seq = 2");
    assert_eq!(disk.read(), Err(Damaged::Delta(2)));
}

#[test]
fn missing_delta_is_detected() {
    let disk = with_deltas();
    disk.damage("DELETE FROM manager_deltas WHERE seq = 2");
    assert_eq!(disk.read(), Err(Damaged::Delta(2)));
}

#[test]
fn delta_of_another_base_is_detected() {
    let disk = with_deltas();
    disk.damage("UPDATE manager_deltas SET checksum = zeroblob(32) WHERE seq = 3");
    assert_eq!(disk.read(), Err(Damaged::Delta(3)));
}
