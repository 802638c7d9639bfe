//! The funding outputs of announced channels, by their short channel ids.
//!
//! Peers announce tens of thousands of channels, and strangers may announce what does not exist. So bitcoind
//! is asked for a block's transaction ids once, not for whole blocks, and for a few things at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::{BlockHash, OutPoint, TxOut, Txid};
use lightning::util::scid_utils::{block_from_scid, tx_index_from_scid, vout_from_scid};
use tokio::sync::{OnceCell, Semaphore};

use super::bitcoind::Bitcoind;
use super::error::ChainError;

/// Look-ups under way at a time. bitcoind serves RPC with 16 threads and by default queues 64 calls; the
/// node's own calls must not wait behind gossip.
const PARALLEL_LOOKUPS: usize = 6;
/// Blocks that are remembered, and transaction ids in all of them (8 MB). Peers announce channels in the
/// order of their blocks, each from where it is.
const MOST_BLOCKS: usize = 500;
const MOST_TXIDS: usize = 250_000;
/// Confirmations of a channel that may be announced (BOLT 7).
const MIN_CONFIRMATIONS: u32 = 6;

/// Why there is no funding output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoOutput {
    /// The block has no such transaction.
    Missing,
    /// It is spent, or the transaction has no such output: bitcoind does not tell which.
    Spent,
    /// It is there, but lacks so many confirmations. The peer may have seen a block before our bitcoind.
    Young { output: TxOut, lacks: u32 },
    /// We do not know it: bitcoind did not answer or has no such block yet, or the chain has just changed. This
    /// may be different in a moment.
    Unknown,
}

/// Asks bitcoind, and remembers the transaction ids of blocks.
pub struct FundingOutputs {
    bitcoind: Arc<Bitcoind>,
    permits: Semaphore,
    blocks: Mutex<VecDeque<(u32, Slot)>>,
}

/// A block that is asked for once, however many look-ups wait for it.
type Slot = Arc<OnceCell<Block>>;

struct Block {
    hash: BlockHash,
    txids: Vec<Txid>,
}

impl FundingOutputs {
    pub fn new(bitcoind: Arc<Bitcoind>) -> Self {
        Self {
            bitcoind,
            permits: Semaphore::new(PARALLEL_LOOKUPS),
            blocks: Mutex::default(),
        }
    }

    /// The unspent output with this short channel id.
    ///
    /// # Errors
    /// [`NoOutput`] says why there is none.
    pub async fn find(&self, scid: u64) -> Result<TxOut, NoOutput> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let found = self.look_up(scid).await.inspect_err(|error| {
            tracing::trace!(scid, %error, "a funding output cannot be looked up");
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
            // The block that we remember may not be in the chain any more.
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
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = blocks.iter().find(|(known, _)| *known == height) {
            return Arc::clone(slot);
        }
        while blocks.len() >= MOST_BLOCKS || txids(&blocks) > MOST_TXIDS {
            blocks.pop_front();
        }
        let slot = Slot::default();
        blocks.push_back((height, Arc::clone(&slot)));
        slot
    }

    fn forget(&self, height: u32) {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.retain(|(known, _)| *known != height);
    }
}

fn txids(blocks: &VecDeque<(u32, Slot)>) -> usize {
    let known = blocks.iter().filter_map(|(_, slot)| slot.get());
    known.map(|block| block.txids.len()).sum()
}

#[cfg(test)]
mod tests;
