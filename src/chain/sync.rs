//! Keeps listeners (LDK's monitors and manager, the wallet, the sweeper) on bitcoind's best chain.
//!
//! First [`catch_up`] brings each listener from its last block to the tip; then [`CaughtUp::follow`] polls
//! for new tips in a task. If bitcoind is unavailable, the node is degraded but continues to run:
//! [`Health`] reports it, and polling continues.

mod follow;
mod start;
mod synced;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::{BlockHash, Network};
use lightning::chain::{BestBlock, Listen};
use lightning_block_sync::poll::ValidatedBlockHeader;
use lightning_block_sync::{Cache, init};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::follow::{Reports, follow_tip};
pub use self::start::MAX_ROLLBACK;
use self::start::{Start, find, starts, wait_for_work};
use self::witness::{Witness, chain_error};
use super::bitcoind::{Bitcoind, ChainInfo};
use super::error::ChainError;
use super::headers::{DedupLog, RecentHeaders, StoredHeaders};

/// Default interval for polling bitcoind for new blocks.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Default poll interval on regtest, where tests create blocks on demand.
pub const REGTEST_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Minimum number of headers stored after startup, even on a new node.
const MIN_STORED_HEADERS: u32 = 12;

/// A listener that may be called from another thread.
pub type Listener = dyn Listen + Send + Sync;

/// The best block that all listeners have processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Block height.
    pub height: u32,
    /// Block hash.
    pub hash: BlockHash,
    /// The time in the block header, in Unix seconds.
    pub time: u32,
}

/// Whether the node can follow the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last poll succeeded.
    Ok,
    /// The last poll failed; the reason in one line.
    Degraded(String),
}

/// The default poll interval for `network`.
pub fn default_poll_interval(network: Network) -> Duration {
    match network {
        Network::Regtest => REGTEST_POLL_INTERVAL,
        _ => POLL_INTERVAL,
    }
}

/// Brings each listener from its own best block to bitcoind's tip.
///
/// A block that several listeners lack is fetched only once. Blocks that a reorg has removed in the
/// meantime are disconnected, even if bitcoind does not know them, provided their headers are stored. If
/// bitcoind has less work than a listener has processed, this waits for bitcoind to catch up, because
/// rolling back to its tip would undo confirmed transactions.
///
/// # Errors
/// [`ChainError::UnknownBlock`], [`ChainError::OtherChain`] and [`ChainError::Pruned`] are detected before
/// any listener is called. After other errors the listeners may be at different blocks; a retry must pass
/// their new best blocks.
pub async fn catch_up(
    bitcoind: Arc<Bitcoind>,
    stored: StoredHeaders,
    listeners: Vec<(BestBlock, &Listener)>,
) -> Result<CaughtUp, ChainError> {
    let StoredHeaders {
        recent: mut headers,
        log,
    } = stored;
    bitcoind.check().await?;
    let starts = starts(&bitcoind, &headers, &listeners).await?;
    let info = wait_for_work(&bitcoind, &starts).await?;
    let lowest = starts.iter().map(Start::lowest).min();
    check_pruning(&bitcoind, &info, lowest)?;

    let behind = lowest.map_or(0, |height| info.blocks.saturating_sub(height));
    tracing::info!(height = info.blocks, behind, "catching up with the chain");
    let listeners = listeners.into_iter();
    let listeners = listeners.map(|(best, l)| (best.block_hash, l)).collect();
    for start in &starts {
        // `synchronize_listeners` looks up headers in this cache first.
        headers.insert(start.tip);
        log.put(&start.tip);
        log.put(&start.known);
    }
    let tip = {
        let source = Witness::new(&bitcoind, &log);
        init::synchronize_listeners(&source, bitcoind.network(), &mut headers, listeners)
            .await
            .map_err(|e| chain_error(&bitcoind, e))?
    };
    keep_last(&bitcoind, &mut headers, &log, tip).await?;
    Ok(CaughtUp {
        bitcoind,
        headers,
        log,
        tip,
    })
}

/// Stores the headers of the last blocks if they are missing: on a new node, or one that did not store
/// headers before.
async fn keep_last(
    bitcoind: &Bitcoind,
    headers: &mut RecentHeaders,
    log: &DedupLog,
    tip: ValidatedBlockHeader,
) -> Result<(), ChainError> {
    headers.insert(tip);
    log.put(&tip);
    let mut block = tip;
    for _ in 0..MIN_STORED_HEADERS.min(tip.height) {
        let previous = block.header.prev_blockhash;
        block = match headers.look_up(&previous) {
            Some(previous) => *previous,
            None => match find(bitcoind, &previous).await? {
                Some(previous) => previous,
                None => return Ok(()),
            },
        };
        headers.insert(block);
        log.put(&block);
    }
    Ok(())
}

/// Checks that bitcoind still has all blocks above `lowest`, the lowest best block of all listeners.
fn check_pruning(
    bitcoind: &Bitcoind,
    info: &ChainInfo,
    lowest: Option<u32>,
) -> Result<(), ChainError> {
    let (Some(lowest), Some(first_kept), true) = (lowest, info.prune_height, info.pruned) else {
        return Ok(());
    };
    let needed = lowest.saturating_add(1);
    if needed >= first_kept || needed > info.blocks {
        return Ok(());
    }
    Err(ChainError::Pruned {
        address: bitcoind.address(),
        needed,
        lacking: first_kept - 1,
    })
}

/// The state after catch-up: all listeners are at the same tip.
pub struct CaughtUp {
    bitcoind: Arc<Bitcoind>,
    headers: RecentHeaders,
    log: DedupLog,
    tip: ValidatedBlockHeader,
}

/// Reports of the task of [`CaughtUp::follow`].
#[derive(Clone, Debug)]
pub struct Following {
    /// The best block that the listener has processed.
    pub tip: watch::Receiver<Tip>,
    /// Whether the node can follow bitcoind.
    pub health: watch::Receiver<Health>,
}

impl CaughtUp {
    /// The block at which all listeners are.
    pub fn tip(&self) -> Tip {
        tip_of(&self.tip.header, self.tip.height)
    }

    /// The same as LDK's type.
    pub fn best_block(&self) -> BestBlock {
        self.tip.to_best_block()
    }

    /// Deletes stored headers below `height`. No listener may need them, not even after a crash.
    pub fn forget_headers_below(&self, height: u32) {
        self.log.forget_below(height);
    }

    /// Returns the reports and the task that follows the tip until `stop` is cancelled.
    ///
    /// The task, for `tokio::spawn`, calls `listener` for each block that is connected or disconnected. When
    /// `stop` is cancelled, a running poll is aborted between two calls of the listener.
    pub fn follow(
        self,
        listener: Arc<Listener>,
        poll_interval: Duration,
        stop: CancellationToken,
    ) -> (Following, impl Future<Output = ()> + Send + 'static) {
        let (tip_sender, tip) = watch::channel(self.tip());
        let (health_sender, health) = watch::channel(Health::Ok);
        let reports = Reports {
            tip: tip_sender,
            health: health_sender,
        };
        let task = follow_tip(self, listener, poll_interval, reports, stop);
        (Following { tip, health }, task)
    }
}

fn tip_of(header: &Header, height: u32) -> Tip {
    Tip {
        height,
        hash: header.block_hash(),
        time: header.time,
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;
    use crate::chain::test_server::unreachable_bitcoind;

    fn pruned_below(first_kept: u32, blocks: u32) -> ChainInfo {
        ChainInfo {
            chain: "regtest".to_owned(),
            blocks,
            headers: blocks,
            best_block: BlockHash::all_zeros(),
            initial_download: false,
            pruned: true,
            prune_height: Some(first_kept),
        }
    }

    #[test]
    fn pruned_bitcoind_is_rejected_only_if_it_lacks_a_needed_block() {
        let bitcoind = unreachable_bitcoind();
        let info = pruned_below(500, 1_000);
        for fine in [None, Some(499), Some(700), Some(1_000), Some(u32::MAX)] {
            assert!(check_pruning(&bitcoind, &info, fine).is_ok(), "{fine:?}");
        }
        let error = check_pruning(&bitcoind, &info, Some(498))
            .unwrap_err()
            .to_string();
        assert!(error.contains("lacks blocks 499 to 499"), "{error}");
        let error = check_pruning(&bitcoind, &info, Some(0))
            .unwrap_err()
            .to_string();
        assert!(error.contains("lacks blocks 1 to 499"), "{error}");
        let whole = ChainInfo {
            pruned: false,
            prune_height: None,
            ..info
        };
        assert!(check_pruning(&bitcoind, &whole, Some(0)).is_ok());
    }
}
