//! The block headers that the node has followed, in memory and on disk.
//!
//! lightning-block-sync walks back from a listener's last block to the best chain by headers, and
//! asks bitcoind for those that it does not find here. A bitcoind that was replaced, restored or
//! reindexed never saw the stale blocks of a reorg, so the node keeps their headers itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::BlockHash;
use lightning_block_sync::poll::{Validate, ValidatedBlockHeader};
use lightning_block_sync::{BlockHeaderData, Cache};

/// Headers kept, in blocks (two weeks).
pub(super) const CAPACITY: usize = 2016;

/// Where headers are kept on disk.
pub trait HeaderLog: Send + Sync {
    /// Keeps a header; it is on disk no later than what is queued after it. Once more is no harm.
    fn put(&self, header: BlockHeaderData);

    /// Deletes all headers below this height.
    fn forget_below(&self, height: u32);
}

/// What is on disk, read at the start, and where more goes.
pub struct StoredHeaders {
    pub(super) recent: RecentHeaders,
    pub(super) log: NotedOnce,
}

impl StoredHeaders {
    /// `stored` is what `log` holds.
    pub fn new(stored: Vec<BlockHeaderData>, log: Arc<dyn HeaderLog>) -> Self {
        let mut recent = RecentHeaders::default();
        for header in stored {
            let hash = header.header.block_hash();
            match header.validate(hash) {
                Ok(header) => recent.insert(header),
                Err(_) => tracing::warn!(%hash, "a stored block header is invalid and ignored"),
            }
        }
        let noted = recent.by_hash.keys().copied().collect();
        let log = NotedOnce {
            log,
            noted: Mutex::new(noted),
        };
        Self { recent, log }
    }
}

/// Puts each header into the log once, as far as it remembers.
pub(super) struct NotedOnce {
    log: Arc<dyn HeaderLog>,
    noted: Mutex<HashSet<BlockHash>>,
}

impl NotedOnce {
    pub(super) fn put(&self, header: &BlockHeaderData) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() > 2 * CAPACITY {
            noted.clear();
        }
        if noted.insert(header.header.block_hash()) {
            self.log.put(*header);
        }
    }

    pub(super) fn forget_below(&self, height: u32) {
        self.log.forget_below(height);
    }
}

/// A bounded [`Cache`] of headers. lightning-block-sync's own never forgets.
#[derive(Default)]
pub(super) struct RecentHeaders {
    by_hash: HashMap<BlockHash, ValidatedBlockHeader>,
    lowest_first: BTreeSet<(u32, BlockHash)>,
}

impl RecentHeaders {
    /// Adds a header, beyond the capacity if need be.
    pub(super) fn insert(&mut self, header: ValidatedBlockHeader) {
        let hash = header.header.block_hash();
        self.lowest_first.insert((header.height, hash));
        self.by_hash.insert(hash, header);
    }
}

impl Cache for RecentHeaders {
    fn look_up(&self, hash: &BlockHash) -> Option<&ValidatedBlockHeader> {
        self.by_hash.get(hash)
    }

    fn block_connected(&mut self, _: BlockHash, header: ValidatedBlockHeader) {
        self.insert(header);
        while self.lowest_first.len() > CAPACITY {
            if let Some((_, lowest)) = self.lowest_first.pop_first() {
                self.by_hash.remove(&lowest);
            }
        }
    }

    fn block_disconnected(&mut self, hash: &BlockHash) -> Option<ValidatedBlockHeader> {
        let header = self.by_hash.remove(hash)?;
        self.lowest_first.remove(&(header.height, *hash));
        Some(header)
    }
}
