//! Finds the blocks from which listeners have to catch up.

use bitcoin::BlockHash;
use lightning::chain::BestBlock;
use lightning_block_sync::Cache;
use lightning_block_sync::poll::{Validate, ValidatedBlockHeader};
use tokio_util::sync::CancellationToken;

use super::witness::chain_error;
use super::{Listener, default_poll_interval};
use crate::chain::bitcoind::{Bitcoind, ChainInfo};
use crate::chain::error::ChainError;
use crate::chain::headers::RecentHeaders;

/// Maximum number of blocks unknown to bitcoind that may be rolled back at startup. A reorg of more than a
/// day does not happen on a network in use, so bitcoind must be on another chain.
pub const MAX_ROLLBACK: u32 = 144;

/// The block at which a listener starts.
pub(super) struct Start {
    /// The listener's best block.
    pub(super) tip: ValidatedBlockHeader,
    /// The newest block of its chain that bitcoind knows, in the best chain or stale.
    pub(super) known: ValidatedBlockHeader,
}

impl Start {
    /// The height of the lower of the two blocks.
    pub(super) fn lowest(&self) -> u32 {
        self.tip.height.min(self.known.height)
    }
}

/// Returns one start for each distinct best block of the listeners.
pub(super) async fn starts(
    bitcoind: &Bitcoind,
    headers: &RecentHeaders,
    listeners: &[(BestBlock, &Listener)],
) -> Result<Vec<Start>, ChainError> {
    let mut starts: Vec<Start> = Vec::new();
    for (best, _) in listeners {
        let hash = best.block_hash;
        if starts.iter().any(|s| s.tip.header.block_hash() == hash) {
            continue;
        }
        let tip = match headers.look_up(&hash) {
            Some(tip) => *tip,
            None => find(bitcoind, &hash)
                .await?
                .ok_or_else(|| bitcoind.unknown_block(hash, Some(best.height)))?,
        };
        let known = newest_known(bitcoind, headers, tip).await?;
        if known != tip {
            let (from, to) = (tip.height, known.height);
            tracing::warn!(from, to, %hash, "rolling back blocks that bitcoind does not know");
        }
        starts.push(Start { tip, known });
    }
    Ok(starts)
}

/// Walks back from `tip` to a block that bitcoind knows.
async fn newest_known(
    bitcoind: &Bitcoind,
    headers: &RecentHeaders,
    tip: ValidatedBlockHeader,
) -> Result<ValidatedBlockHeader, ChainError> {
    let mut block = tip;
    for depth in 0..=MAX_ROLLBACK {
        let hash = block.header.block_hash();
        // All chains of a network share the genesis block, so knowing it proves nothing.
        let is_proof = block.height > 0 || depth == 0;
        if is_proof && bitcoind.find_header(&hash).await?.is_some() {
            return Ok(block);
        }
        let previous = &block.header.prev_blockhash;
        block = match headers.look_up(previous) {
            Some(previous) => *previous,
            None if block.height > 1 => match find(bitcoind, previous).await? {
                Some(known) => return Ok(known),
                None => return Err(other_chain(bitcoind, &tip, depth + 1)),
            },
            None => break,
        };
    }
    let depth = tip.height.min(MAX_ROLLBACK + 1);
    Err(other_chain(bitcoind, &tip, depth))
}

fn other_chain(bitcoind: &Bitcoind, tip: &ValidatedBlockHeader, depth: u32) -> ChainError {
    ChainError::OtherChain {
        address: bitcoind.address(),
        hash: tip.header.block_hash(),
        height: tip.height,
        depth,
    }
}

/// Fetches and validates a block's header.
pub(super) async fn find(
    bitcoind: &Bitcoind,
    hash: &BlockHash,
) -> Result<Option<ValidatedBlockHeader>, ChainError> {
    let Some(found) = bitcoind.find_header(hash).await? else {
        return Ok(None);
    };
    let valid = found.validate(*hash);
    let valid = valid.map_err(|e| chain_error(bitcoind, e))?;
    Ok(Some(valid))
}

/// Waits until bitcoind's chain has at least as much work as that of every listener.
pub(super) async fn wait_for_work(
    bitcoind: &Bitcoind,
    starts: &[Start],
) -> Result<ChainInfo, ChainError> {
    let most = starts.iter().map(|start| start.tip);
    let most = most.max_by_key(|tip| tip.chainwork);
    let mut logged = false;
    loop {
        let info = bitcoind.wait_until_ready(&CancellationToken::new()).await?;
        let best = bitcoind.find_header(&info.best_block).await?;
        let has = |work| best.is_some_and(|best| best.chainwork >= work);
        let Some(ours) = most.filter(|most| !has(most.chainwork)) else {
            return Ok(info);
        };
        if !logged {
            let (address, ours, theirs) = (bitcoind.address(), ours.height, info.blocks);
            let behind = ChainError::Behind {
                address,
                ours,
                theirs,
            };
            tracing::warn!("{behind}");
            logged = true;
        }
        tokio::time::sleep(default_poll_interval(bitcoind.network())).await;
    }
}
