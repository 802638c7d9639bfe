//! Headers of the blocks that the node has processed, in memory and on disk.
//!
//! lightning-block-sync walks headers back from a listener's last block to the best chain, and fetches
//! those missing here from bitcoind. A bitcoind that was replaced, restored or reindexed does not know the
//! stale blocks of an earlier reorg, so the node stores their headers itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::sync::lock;
use bitcoin::BlockHash;
use lightning_block_sync::poll::{Validate, ValidatedBlockHeader};
use lightning_block_sync::{BlockHeaderData, Cache};

/// Number of headers kept (two weeks).
pub(super) const CAPACITY: usize = 2016;

/// Persistent storage for headers.
pub trait HeaderLog: Send + Sync {
    /// Stores a header. It must be on disk no later than anything queued after it. Repeated calls with the
    /// same header are allowed.
    fn put(&self, header: BlockHeaderData);

    /// Deletes all headers below this height.
    fn forget_below(&self, height: u32);
}

/// The headers read from disk at startup, and the log for new ones.
pub struct StoredHeaders {
    pub(super) recent: RecentHeaders,
    pub(super) log: DedupLog,
}

impl StoredHeaders {
    /// Builds the cache from `stored`, the headers in `log`.
    pub fn new(stored: Vec<BlockHeaderData>, log: Arc<dyn HeaderLog>) -> Self {
        let mut recent = RecentHeaders::default();
        for header in stored {
            let hash = header.header.block_hash();
            match header.validate(hash) {
                Ok(header) => recent.insert(header),
                Err(_) => tracing::warn!(%hash, "ignoring an invalid stored block header"),
            }
        }
        let logged = recent.by_hash.keys().copied().collect();
        let log = DedupLog {
            log,
            logged: Mutex::new(logged),
        };
        Self { recent, log }
    }
}

/// Writes each header to the log only once, except when its bounded memory is cleared.
pub(super) struct DedupLog {
    log: Arc<dyn HeaderLog>,
    logged: Mutex<HashSet<BlockHash>>,
}

impl DedupLog {
    pub(super) fn put(&self, header: &BlockHeaderData) {
        let mut logged = lock(&self.logged);
        if logged.len() > 2 * CAPACITY {
            logged.clear();
        }
        if logged.insert(header.header.block_hash()) {
            self.log.put(*header);
        }
    }

    pub(super) fn forget_below(&self, height: u32) {
        self.log.forget_below(height);
    }
}

/// A bounded [`Cache`] of headers. That of lightning-block-sync is unbounded.
#[derive(Default)]
pub(super) struct RecentHeaders {
    by_hash: HashMap<BlockHash, ValidatedBlockHeader>,
    lowest_first: BTreeSet<(u32, BlockHash)>,
}

impl RecentHeaders {
    /// Adds a header, even beyond the capacity.
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
