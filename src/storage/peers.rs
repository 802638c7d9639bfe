//! Addresses of peers for automatic reconnection.

use bitcoin::secp256k1::PublicKey;
use rusqlite::{Connection, params};

use super::sql::damaged;
use super::{Change, StorageError, Store, Subject};

/// Stores a peer's address or removes the peer.
pub struct PutPeer {
    pub node_id: PublicKey,
    /// `host:port`; `None` removes the peer.
    pub address: Option<String>,
}

impl Change for PutPeer {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let node_id = self.node_id.serialize();
        match &self.address {
            Some(address) => db
                .prepare_cached("INSERT OR REPLACE INTO peers VALUES (?1, ?2)")?
                .execute(params![node_id, address]),
            None => db
                .prepare_cached("DELETE FROM peers WHERE node_id = ?1")?
                .execute([node_id]),
        }
        .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!("the address of peer {}", self.node_id))
    }
}

impl Store {
    /// Returns all stored peers with their `host:port`.
    ///
    /// # Errors
    /// If the query fails.
    pub fn peers(&self) -> Result<Vec<(PublicKey, String)>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT node_id, address FROM peers")?
                .query_map([], |row| {
                    let key: Vec<u8> = row.get(0)?;
                    let key = PublicKey::from_slice(&key).map_err(|e| damaged(e.to_string()))?;
                    Ok((key, row.get(1)?))
                })?
                .collect()
        })
    }
}
