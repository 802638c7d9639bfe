//! Blobs that peers store with us (BOLT 1, `peer_storage`).

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use rusqlite::{Connection, OptionalExtension, params};

use super::sql::damaged;
use super::{Change, StorageError, Store, Subject};

/// Stores the peer's latest blob and replaces the previous one.
pub struct PutPeerBlob {
    pub node_id: PublicKey,
    /// At most 65,531 bytes.
    pub blob: Arc<[u8]>,
}

impl Change for PutPeerBlob {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached(
            "INSERT INTO peer_storage (node_id, blob) VALUES (?1, ?2)
             ON CONFLICT (node_id) DO UPDATE SET blob = ?2",
        )?
        .execute(params![self.node_id.serialize(), &*self.blob])
        .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!("the peer storage blob of {}", self.node_id))
    }
}

/// Records the height since which the peer has no channel with us; `None` while it has one.
pub struct PutNoChannelSince {
    pub node_id: PublicKey,
    pub height: Option<u32>,
}

impl Change for PutNoChannelSince {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("UPDATE peer_storage SET no_channel_since = ?2 WHERE node_id = ?1")?
            .execute(params![self.node_id.serialize(), self.height])
            .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!(
            "the height since which peer {} has had no channel",
            self.node_id
        ))
    }
}

/// Deletes the peer's blob.
pub struct DeletePeerBlob(pub PublicKey);

impl Change for DeletePeerBlob {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM peer_storage WHERE node_id = ?1")?
            .execute([self.0.serialize()])
            .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!(
            "the deletion of the peer storage blob of {}",
            self.0
        ))
    }
}

impl Store {
    /// Returns the peers that have a stored blob, each with the height since which it has no channel.
    ///
    /// # Errors
    /// If the query fails.
    pub fn peers_with_blobs(&self) -> Result<Vec<(PublicKey, Option<u32>)>, StorageError> {
        self.query(|db| {
            db.prepare("SELECT node_id, no_channel_since FROM peer_storage")?
                .query_map([], |row| {
                    let key: Vec<u8> = row.get(0)?;
                    let key = PublicKey::from_slice(&key).map_err(|e| damaged(e.to_string()))?;
                    Ok((key, row.get(1)?))
                })?
                .collect()
        })
    }

    /// Returns the blob of this peer.
    ///
    /// # Errors
    /// If the query fails.
    pub fn peer_blob(&self, node_id: &PublicKey) -> Result<Option<Vec<u8>>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT blob FROM peer_storage WHERE node_id = ?1")?
                .query_row([node_id.serialize()], |row| row.get(0))
                .optional()
        })
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    fn peer(n: u8) -> PublicKey {
        let secret = SecretKey::from_slice(&[n; 32]).unwrap();
        PublicKey::from_secret_key(&Secp256k1::new(), &secret)
    }

    fn put(store: &Store, n: u8, blob: &[u8]) {
        store.submit(PutPeerBlob {
            node_id: peer(n),
            blob: blob.into(),
        });
    }

    #[test]
    fn keeps_the_newest_blob_of_each_peer_until_deletion() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let largest = vec![7; 65_531];
        put(&store, 1, b"first");
        put(&store, 2, &largest);
        put(&store, 1, b"second");
        store.flush();
        assert_eq!(store.peer_blob(&peer(1)).unwrap().unwrap(), b"second");
        assert_eq!(store.peer_blob(&peer(2)).unwrap().unwrap(), largest);
        assert_eq!(store.peer_blob(&peer(3)).unwrap(), None);
        store.submit(DeletePeerBlob(peer(2)));
        store.flush();
        assert_eq!(store.peer_blob(&peer(2)).unwrap(), None);
        assert_eq!(store.peers_with_blobs().unwrap(), [(peer(1), None)]);
    }

    #[test]
    fn new_blob_keeps_the_no_channel_height() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        put(&store, 1, b"first");
        store.submit(PutNoChannelSince {
            node_id: peer(1),
            height: Some(700),
        });
        put(&store, 1, b"second");
        store.flush();
        assert_eq!(store.peers_with_blobs().unwrap(), [(peer(1), Some(700))]);
        store.submit(PutNoChannelSince {
            node_id: peer(1),
            height: None,
        });
        store.flush();
        assert_eq!(store.peers_with_blobs().unwrap(), [(peer(1), None)]);
    }
}
