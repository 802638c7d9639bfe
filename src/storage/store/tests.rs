//! Tests of opening the database.

use super::*;

/// Sets the schema version recorded in the database.
fn set_schema(directory: &Path, version: u32) {
    let db = Connection::open(Store::path_in(directory)).unwrap();
    db.pragma_update(None, "user_version", version).unwrap();
}

#[test]
fn rejects_newer_schema_without_changing_it() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).unwrap().close().unwrap();
    set_schema(dir.path(), 1_000);
    let before = std::fs::read(Store::path_in(dir.path())).unwrap();
    let error = Store::open(dir.path()).err().unwrap();
    assert!(matches!(
        error,
        StorageError::NewerSchema { found: 1_000, .. }
    ));
    assert!(error.to_string().contains("schema version 1000"));
    assert_eq!(std::fs::read(Store::path_in(dir.path())).unwrap(), before);
}

#[test]
fn rejects_file_that_is_not_a_database_without_changing_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = Store::path_in(dir.path());
    std::fs::write(&path, "my notes, not a database".repeat(100)).unwrap();
    let error = Store::open(dir.path()).err().unwrap();
    assert!(matches!(error, StorageError::Sqlite { .. }), "{error}");
    let left = std::fs::read_to_string(&path).unwrap();
    assert!(left.starts_with("my notes"));
}

#[test]
fn rejects_another_network_or_node() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.claim("regtest", "alice").unwrap();
    store.close().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.claim("regtest", "alice").unwrap();
    for (network, node, what) in [
        ("signet", "alice", "network"),
        ("regtest", "bob", "node"),
        ("signet", "bob", "network"),
    ] {
        match store.claim(network, node) {
            Err(StorageError::Foreign { what: found, .. }) => assert_eq!(found, what),
            other => panic!("{other:?}"),
        }
    }
    store.claim("regtest", "alice").unwrap();
}

#[test]
fn database_files_are_readable_by_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.submit(crate::storage::wallet::AppendWalletChange(vec![1]));
    store.flush();
    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(files.len(), 3, "expected the database, -wal and -shm");
    for file in files {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
