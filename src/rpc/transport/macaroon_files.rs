//! Writes the macaroon files at the paths where lnd's tools look for them.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::rpc::bakery::DEFAULT_ROOT_KEY;
use crate::rpc::bakery::{BakeError, Bakery};
use ampd_files::{FileError, Readers};
use lnd_api::layout::ADMIN_FILE;
use lnd_macaroon::{Macaroon, Operations};

/// The permissions of admin.macaroon, as in lnd.
const ADMIN: [(&str, &[&str]); 9] = [
    ("address", &["read", "write"]),
    ("info", &["read", "write"]),
    ("invoices", &["read", "write"]),
    ("macaroon", &["generate", "read", "write"]),
    ("message", &["read", "write"]),
    ("offchain", &["read", "write"]),
    ("onchain", &["read", "write"]),
    ("peers", &["read", "write"]),
    ("signer", &["generate", "read"]),
];
/// The permissions of invoice.macaroon, as in lnd.
const INVOICE: [(&str, &[&str]); 3] = [
    ("address", &["read", "write"]),
    ("invoices", &["read", "write"]),
    ("onchain", &["read"]),
];

/// Errors of writing the macaroon files.
#[derive(Debug, thiserror::Error)]
pub enum MacaroonFileError {
    #[error("cannot use {0}; check its permissions and the free space")]
    File(#[from] FileError),
    #[error(transparent)]
    Bake(#[from] BakeError),
}

/// Returns every entity with its actions.
pub(in crate::rpc) fn known_operations()
-> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    ADMIN.into_iter()
}

/// Writes the macaroon files that are missing or not signed by this node's root key.
///
/// # Errors
/// If a file cannot be read or written, or a macaroon cannot be baked.
pub async fn write(directory: &Path, bakery: &Bakery) -> Result<(), MacaroonFileError> {
    let created = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    created.map_err(|source| FileError {
        path: directory.to_owned(),
        source,
    })?;
    let admin = ADMIN
        .iter()
        .flat_map(|(entity, actions)| all(entity, actions))
        .collect();
    let readonly = ADMIN.iter().map(|(entity, _)| (*entity, "read")).collect();
    let invoice = INVOICE
        .iter()
        .flat_map(|(entity, actions)| all(entity, actions))
        .collect();
    write_one(&directory.join(ADMIN_FILE), bakery, admin).await?;
    write_one(&directory.join("readonly.macaroon"), bakery, readonly).await?;
    write_one(&directory.join("invoice.macaroon"), bakery, invoice).await
}

fn all(
    entity: &'static str,
    actions: &'static [&'static str],
) -> impl Iterator<Item = (&'static str, &'static str)> {
    actions.iter().map(move |action| (entity, *action))
}

async fn write_one(
    path: &Path,
    bakery: &Bakery,
    operations: Operations,
) -> Result<(), MacaroonFileError> {
    let is_ours = |bytes: Vec<u8>| {
        let macaroon = Macaroon::decode(&bytes);
        macaroon.is_ok_and(|macaroon| bakery.verify(&macaroon).is_ok())
    };
    if ampd_files::read(path)?.is_some_and(is_ours) {
        return Ok(());
    }
    let macaroon = bakery.bake(operations, DEFAULT_ROOT_KEY).await?;
    ampd_files::replace(path, &macaroon.encode(), Readers::Owner)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bitcoin::hex::FromHex;

    use super::*;
    use crate::storage::Store;

    const FILES: [&str; 3] = ["admin", "readonly", "invoice"];

    fn read(directory: &Path) -> Vec<Vec<u8>> {
        let path = |name: &&str| directory.join(format!("{name}.macaroon"));
        FILES
            .iter()
            .map(|name| ampd_files::read(&path(name)).unwrap().unwrap())
            .collect()
    }

    fn bakery() -> (tempfile::TempDir, Bakery) {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        (directory, Bakery::open(store).unwrap())
    }

    #[tokio::test]
    async fn macaroon_files_have_lnds_permissions() {
        let (directory, bakery) = bakery();
        write(directory.path(), &bakery).await.unwrap();
        let lnds = crate::rpc::test_recordings::recorded("macaroon_files.json");
        for (name, ours) in FILES.iter().zip(read(directory.path())) {
            let lnds = Vec::from_hex(lnds[name].as_str().unwrap()).unwrap();
            let [ours, lnds] =
                [ours, lnds].map(|bytes| Macaroon::decode(&bytes).unwrap().id().unwrap());
            assert_eq!(ours.operations, lnds.operations, "{name}");
        }
    }

    #[tokio::test]
    async fn files_are_kept_until_the_root_key_changes() {
        let (directory, bakery) = bakery();
        write(directory.path(), &bakery).await.unwrap();
        let first = read(directory.path());
        write(directory.path(), &bakery).await.unwrap();
        assert_eq!(read(directory.path()), first);
        let (_other, bakery) = self::bakery();
        write(directory.path(), &bakery).await.unwrap();
        assert_ne!(read(directory.path()), first);
    }
}
