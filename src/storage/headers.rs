//! Headers of the blocks that the node has followed, including stale ones.

use bitcoin::Work;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use lightning_block_sync::BlockHeaderData;
use rusqlite::{Connection, params};

use super::sql::{array, damaged};
use super::{Change, StorageError, Store};

/// Stores a header.
pub struct PutHeader(pub BlockHeaderData);

impl Change for PutHeader {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let BlockHeaderData {
            header,
            height,
            chainwork,
        } = &self.0;
        let hash = header.block_hash().to_byte_array();
        db.prepare_cached("INSERT OR IGNORE INTO block_headers VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                hash,
                height,
                serialize(header),
                chainwork.to_be_bytes()
            ])
            .map(|_| ())
    }
}

/// Deletes the headers below a height.
pub struct ForgetHeaders {
    pub below: u32,
}

impl Change for ForgetHeaders {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM block_headers WHERE height < ?1")?
            .execute([self.below])
            .map(|_| ())
    }
}

impl Store {
    /// Returns all stored headers, lowest first.
    ///
    /// # Errors
    /// If the query fails or a header cannot be decoded.
    pub fn headers(&self) -> Result<Vec<BlockHeaderData>, StorageError> {
        self.query(|db| {
            db.prepare("SELECT height, header, chainwork FROM block_headers ORDER BY height")?
                .query_map([], |row| {
                    let header: [u8; 80] = array(row, "header")?;
                    Ok(BlockHeaderData {
                        header: deserialize(&header).map_err(|e| damaged(e.to_string()))?,
                        height: row.get("height")?,
                        chainwork: Work::from_be_bytes(array(row, "chainwork")?),
                    })
                })?
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::constants::genesis_block;
    use bitcoin::{BlockHash, Network};

    use super::*;

    /// A header at this height on a separate branch.
    fn header(height: u32, branch: u8) -> BlockHeaderData {
        let mut header = genesis_block(Network::Regtest).header;
        header.prev_blockhash = BlockHash::from_byte_array([branch; 32]);
        BlockHeaderData {
            header,
            height,
            chainwork: Work::from_be_bytes([branch; 32]),
        }
    }

    #[test]
    fn deletes_headers_below_a_height_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for (height, branch) in [(8, 3), (7, 1), (6, 5), (8, 4), (7, 1)] {
            store.submit(PutHeader(header(height, branch)));
        }
        store.flush();
        assert_eq!(
            store.headers().unwrap().len(),
            4,
            "both headers at height 8 must be kept"
        );
        store.submit(ForgetHeaders { below: 7 });
        store.flush();
        let left = store.headers().unwrap();
        assert_eq!(left[0], header(7, 1));
        assert!(left.contains(&header(8, 3)) && left.contains(&header(8, 4)));
        assert_eq!(left.len(), 3);
    }
}
