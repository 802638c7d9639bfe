//! Bakes and checks macaroons, and revokes them by deleting the root key that signed them.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::storage::macaroons::{DeleteRootKey, PutRootKey};
use crate::storage::{StorageError, Store};
use crate::sync::{read, write};
use lnd_macaroon::caveat::{self, Call, CaveatError};
use lnd_macaroon::{FormatError, Id, IdError, Macaroon, Operations, RootKey, SignatureError};

/// The ID of the root key that signs the macaroon files written at startup. It cannot be deleted.
pub const DEFAULT_ROOT_KEY: u64 = 0;

/// The entity whose actions are RPC method names.
pub const URI: &str = "uri";

/// The root keys, in memory and in the database.
pub struct Bakery {
    store: Arc<Store>,
    keys: RwLock<BTreeMap<u64, RootKey>>,
}

/// Errors of baking a macaroon.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    #[error("cannot get random bytes from the operating system: {0}")]
    Random(#[from] getrandom::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The root key is the default one, which cannot be deleted. The text is lnd's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the specified ID cannot be deleted")]
pub struct DeletionForbidden;

/// Reasons to reject a macaroon. The texts are lnd's: clients match on some of them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Id(#[from] IdError),
    #[error("verification failed: macaroon not found in storage")]
    UnknownRootKey,
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Caveat(#[from] CaveatError),
    #[error("permission denied")]
    PermissionDenied,
}

impl Bakery {
    /// Loads the root keys. [`Bakery::bake`] creates missing ones.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn open(store: Arc<Store>) -> Result<Self, StorageError> {
        let keys = store.macaroon_root_keys()?.into_iter().collect();
        Ok(Self {
            store,
            keys: RwLock::new(keys),
        })
    }

    /// Returns a new macaroon for these operations, signed with this root key. A missing root key is
    /// created, and committed to the database first.
    ///
    /// # Errors
    /// If the operating system provides no random bytes.
    pub async fn bake(
        &self,
        operations: Operations,
        root_key_id: u64,
    ) -> Result<Macaroon, BakeError> {
        let key = self.root_key(root_key_id).await?;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)?;
        let id = Id {
            nonce,
            root_key_id,
            operations,
        };
        Ok(Macaroon::mint(&key, &id))
    }

    async fn root_key(&self, id: u64) -> Result<RootKey, BakeError> {
        if let Some(key) = self.read().get(&id) {
            return Ok(key.clone());
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let new = RootKey::from_bytes(bytes);
        let (key, ticket) = {
            let mut keys = self.write();
            // A concurrent call may have inserted it first.
            let key = keys.entry(id).or_insert(new).clone();
            let put = PutRootKey {
                id,
                key: key.clone(),
            };
            (key, self.store.submit(put))
        };
        self.store.durable(ticket).await;
        Ok(key)
    }

    /// Returns the IDs of all root keys.
    pub fn root_key_ids(&self) -> Vec<u64> {
        self.read().keys().copied().collect()
    }

    /// Deletes a root key, which revokes every macaroon that it signed. Returns false if there is no
    /// such key.
    ///
    /// # Errors
    /// [`DeletionForbidden`] for the default key.
    pub async fn delete(&self, id: u64) -> Result<bool, DeletionForbidden> {
        if id == DEFAULT_ROOT_KEY {
            return Err(DeletionForbidden);
        }
        let ticket = {
            let mut keys = self.write();
            if keys.remove(&id).is_none() {
                return Ok(false);
            }
            self.store.submit(DeleteRootKey { id })
        };
        self.store.durable(ticket).await;
        Ok(true)
    }

    /// Verifies the signature and returns the macaroon's ID. Does not check caveats.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn verify(&self, macaroon: &Macaroon) -> Result<Id, Refusal> {
        let id = macaroon.id()?;
        match self.read().get(&id.root_key_id) {
            Some(key) => macaroon.verify(key)?,
            None => return Err(Refusal::UnknownRootKey),
        }
        Ok(id)
    }

    /// Verifies the signature and the caveats, and returns the macaroon's ID.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_caveats(&self, bytes: &[u8], call: &Call) -> Result<Id, Refusal> {
        let macaroon = Macaroon::decode(bytes)?;
        let id = self.verify(&macaroon)?;
        for caveat in macaroon.caveats() {
            caveat::check(caveat, call)?;
        }
        Ok(id)
    }

    /// Verifies the signature and the caveats, and that the macaroon allows all of `required` or
    /// names `method` (`uri:/lnrpc.Lightning/GetInfo`).
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(
        &self,
        bytes: &[u8],
        required: &[(&str, &str)],
        method: &str,
        call: &Call,
    ) -> Result<Id, Refusal> {
        let id = self.check_caveats(bytes, call)?;
        let allows = |(entity, action): &(&str, &str)| id.operations.contain(entity, action);
        let by_operations = !required.is_empty() && required.iter().all(allows);
        if by_operations || id.operations.contain(URI, method) {
            return Ok(id);
        }
        Err(Refusal::PermissionDenied)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, RootKey>> {
        read(&self.keys)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, RootKey>> {
        write(&self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET_INFO: &str = "/lnrpc.Lightning/GetInfo";
    const READ: [(&str, &str); 1] = [("info", "read")];

    fn bakery(directory: &tempfile::TempDir) -> Bakery {
        let store = Arc::new(Store::open(directory.path()).unwrap());
        Bakery::open(store).unwrap()
    }

    fn now() -> Call {
        Call {
            time: chrono::DateTime::UNIX_EPOCH,
            from: None,
        }
    }

    fn allowing(pairs: &[(&str, &str)]) -> Operations {
        pairs.iter().copied().collect()
    }

    #[tokio::test]
    async fn macaroon_is_valid_until_its_root_key_is_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let bakery = bakery(&directory);
        let baked = bakery.bake(allowing(&READ), 7).await.unwrap().encode();
        let check = |required: &[(&str, &str)]| bakery.check(&baked, required, GET_INFO, &now());
        assert_eq!(check(&READ).unwrap().root_key_id, 7);
        let more = [READ[0], ("peers", "write")];
        assert_eq!(check(&more), Err(Refusal::PermissionDenied));
        assert_eq!(bakery.root_key_ids(), [7]);
        assert_eq!(bakery.delete(7).await, Ok(true));
        assert_eq!(bakery.delete(7).await, Ok(false));
        assert_eq!(check(&READ), Err(Refusal::UnknownRootKey));
    }

    #[tokio::test]
    async fn uri_permission_allows_its_method_only() {
        let directory = tempfile::tempdir().unwrap();
        let bakery = bakery(&directory);
        let by_name = allowing(&[(URI, GET_INFO)]);
        let baked = bakery.bake(by_name, 0).await.unwrap().encode();
        assert!(bakery.check(&baked, &READ, GET_INFO, &now()).is_ok());
        let other = bakery.check(&baked, &READ, "/lnrpc.Lightning/StopDaemon", &now());
        assert_eq!(other, Err(Refusal::PermissionDenied));
    }

    #[tokio::test]
    async fn empty_requirements_do_not_grant_access() {
        let directory = tempfile::tempdir().unwrap();
        let bakery = bakery(&directory);
        let baked = bakery.bake(allowing(&READ), 0).await.unwrap().encode();
        let checked = bakery.check(&baked, &[], GET_INFO, &now());
        assert_eq!(checked, Err(Refusal::PermissionDenied));
    }

    #[tokio::test]
    async fn keys_survive_restart_and_default_key_cannot_be_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let baked = {
            let bakery = bakery(&directory);
            let baked = bakery.bake(allowing(&READ), u64::MAX).await.unwrap();
            bakery
                .bake(allowing(&READ), DEFAULT_ROOT_KEY)
                .await
                .unwrap();
            assert_eq!(
                bakery.delete(DEFAULT_ROOT_KEY).await,
                Err(DeletionForbidden)
            );
            bakery.store.close().unwrap();
            baked.encode()
        };
        let bakery = bakery(&directory);
        assert_eq!(bakery.root_key_ids(), [0, u64::MAX]);
        assert!(bakery.check(&baked, &READ, GET_INFO, &now()).is_ok());
    }

    #[tokio::test]
    async fn expired_caveat_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let bakery = bakery(&directory);
        let baked = bakery.bake(allowing(&READ), 0).await.unwrap();
        let expired = baked
            .with_caveat("time-before 1969-01-01T00:00:00Z")
            .encode();
        let refusal = bakery.check(&expired, &READ, GET_INFO, &now()).unwrap_err();
        assert!(matches!(refusal, Refusal::Caveat(CaveatError::Expired(_))));
    }
}
