//! Looks up the funding outputs of announced channels by short channel id.
//!
//! Peers announce tens of thousands of channels, and malicious ones announce channels that do not exist. So
//! each block is requested once, as a list of transaction ids, and the number of parallel calls is limited.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bitcoin::{BlockHash, OutPoint, TxOut, Txid};
use lightning::util::scid_utils::{block_from_scid, tx_index_from_scid, vout_from_scid};
use tokio::sync::{OnceCell, Semaphore};

use super::bitcoind::Bitcoind;
use super::error::ChainError;
use crate::sync::lock;

/// Maximum number of parallel look-ups. bitcoind serves RPC with 16 threads and queues 64 calls by default;
/// other calls of the node must not wait behind gossip.
const PARALLEL_LOOKUPS: usize = 6;
/// Limits of the block cache, in blocks and in transaction ids (8 MB). Each peer announces channels in block
/// order, but peers start at different blocks.
const MAX_BLOCKS: usize = 500;
const MAX_TXIDS: usize = 250_000;
/// Confirmations required before a channel may be announced (BOLT 7).
const MIN_CONFIRMATIONS: u32 = 6;

/// The reason why a funding output was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoOutput {
    /// The block has no transaction with this index.
    Missing,
    /// The output is spent or does not exist; bitcoind does not distinguish the two.
    Spent,
    /// The output exists but `lacks` this many confirmations. The peer may have seen a block before our
    /// bitcoind.
    Young { output: TxOut, lacks: u32 },
    /// Not known: bitcoind did not respond or does not have the block yet, or a reorg has just happened. A
    /// retry may succeed.
    Unknown,
}

/// Looks up funding outputs with bitcoind, caching the transaction ids of blocks.
pub struct FundingOutputs {
    bitcoind: Arc<Bitcoind>,
    permits: Semaphore,
    blocks: Mutex<VecDeque<(u32, Slot)>>,
}

/// A block that is fetched once for all concurrent look-ups.
type Slot = Arc<OnceCell<Block>>;

struct Block {
    hash: BlockHash,
    txids: Vec<Txid>,
}

impl FundingOutputs {
    /// Creates a look-up with an empty cache.
    pub fn new(bitcoind: Arc<Bitcoind>) -> Self {
        Self {
            bitcoind,
            permits: Semaphore::new(PARALLEL_LOOKUPS),
            blocks: Mutex::default(),
        }
    }

    /// Returns the unspent output with this short channel id.
    ///
    /// # Errors
    /// [`NoOutput`] with the reason.
    pub async fn find(&self, scid: u64) -> Result<TxOut, NoOutput> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let found = self.look_up(scid).await.inspect_err(|error| {
            tracing::trace!(scid, %error, "funding output look-up failed");
        });
        found.unwrap_or(Err(NoOutput::Unknown))
    }

    async fn look_up(&self, scid: u64) -> Result<Result<TxOut, NoOutput>, ChainError> {
        let height = block_from_scid(scid);
        let slot = self.slot(height);
        let block = slot.get_or_try_init(|| self.block(height)).await?;
        let index = usize::try_from(tx_index_from_scid(scid)).unwrap_or(usize::MAX);
        let found = match block.txids.get(index) {
            None => Err(NoOutput::Missing),
            Some(&txid) => {
                let outpoint = OutPoint::new(txid, vout_from_scid(scid).into());
                self.bitcoind
                    .unspent_output(&outpoint, false)
                    .await?
                    .ok_or(NoOutput::Spent)
            }
        };
        match found {
            Ok(output) if output.confirmations < MIN_CONFIRMATIONS => Ok(Err(NoOutput::Young {
                lacks: MIN_CONFIRMATIONS - output.confirmations,
                output: output.output,
            })),
            Ok(output) => Ok(Ok(output.output)),
            // The cached block may no longer be in the best chain.
            Err(_) if self.bitcoind.block_hash(height).await? != block.hash => {
                self.forget(height);
                Ok(Err(NoOutput::Unknown))
            }
            Err(why) => Ok(Err(why)),
        }
    }

    async fn block(&self, height: u32) -> Result<Block, ChainError> {
        let hash = self.bitcoind.block_hash(height).await?;
        let txids = self.bitcoind.block_txids(&hash).await?;
        Ok(Block { hash, txids })
    }

    fn slot(&self, height: u32) -> Slot {
        let mut blocks = lock(&self.blocks);
        if let Some((_, slot)) = blocks.iter().find(|(known, _)| *known == height) {
            return Arc::clone(slot);
        }
        while blocks.len() >= MAX_BLOCKS || txids(&blocks) > MAX_TXIDS {
            blocks.pop_front();
        }
        let slot = Slot::default();
        blocks.push_back((height, Arc::clone(&slot)));
        slot
    }

    fn forget(&self, height: u32) {
        let mut blocks = lock(&self.blocks);
        blocks.retain(|(known, _)| *known != height);
    }
}

fn txids(blocks: &VecDeque<(u32, Slot)>) -> usize {
    let known = blocks.iter().filter_map(|(_, slot)| slot.get());
    known.map(|block| block.txids.len()).sum()
}

#[cfg(test)]
mod tests;
