//! The last few thousand block headers, so that a reorg needs no question to bitcoind.

use std::collections::{HashMap, VecDeque};

use bitcoin::BlockHash;
use lightning_block_sync::Cache;
use lightning_block_sync::poll::ValidatedBlockHeader;

/// Headers kept, in blocks (two weeks). lightning-block-sync's own cache never forgets; what is
/// not here is fetched from bitcoind, which keeps all headers, stale ones too.
const CAPACITY: usize = 2016;

/// A bounded [`Cache`] of headers.
#[derive(Default)]
pub(super) struct RecentHeaders {
    by_hash: HashMap<BlockHash, ValidatedBlockHeader>,
    oldest_first: VecDeque<BlockHash>,
}

impl Cache for RecentHeaders {
    fn look_up(&self, hash: &BlockHash) -> Option<&ValidatedBlockHeader> {
        self.by_hash.get(hash)
    }

    fn block_connected(&mut self, hash: BlockHash, header: ValidatedBlockHeader) {
        if self.by_hash.insert(hash, header).is_none() {
            self.oldest_first.push_back(hash);
        }
        while self.oldest_first.len() > CAPACITY {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_hash.remove(&oldest);
            }
        }
    }

    fn block_disconnected(&mut self, hash: &BlockHash) -> Option<ValidatedBlockHeader> {
        self.oldest_first.retain(|kept| kept != hash);
        self.by_hash.remove(hash)
    }
}
