//! Keeps listeners (LDK's monitors and manager, the wallet, the sweeper) on bitcoind's best chain.
//!
//! First [`catch_up`] brings each listener from the block at which it stopped to the tip; then
//! [`CaughtUp::follow`] polls for new tips in a task. A bitcoind that is away makes the node
//! degraded, not dead: [`Health`] says so, and the polling goes on.

mod follow;
mod start;
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
use super::headers::{NotedOnce, RecentHeaders, StoredHeaders};

/// Pause between polls of bitcoind for a new block, if the config says nothing else.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The same on regtest, where blocks come when a test wants them.
pub const REGTEST_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// After a start the headers of at least so many blocks are stored, also on a node that is new.
const KEPT_AT_LEAST: u32 = 12;

/// A listener that may be called from another thread.
pub type Listener = dyn Listen + Send + Sync;

/// The best block that all listeners have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// The time in its header, in seconds since 1970.
    pub time: u32,
}

/// Whether the node can follow the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last poll succeeded.
    Ok,
    /// It did not, with the reason as one line.
    Degraded(String),
}

/// The pause between polls that fits `network`.
pub fn default_poll_interval(network: Network) -> Duration {
    match network {
        Network::Regtest => REGTEST_POLL_INTERVAL,
        _ => POLL_INTERVAL,
    }
}

/// Brings each listener from its own best block to bitcoind's tip.
///
/// A block that several listeners lack is fetched once. The listeners are told of blocks that a
/// reorg removed meanwhile, also of those that bitcoind does not know, as far as their headers are
/// stored. A bitcoind with less work than a listener has seen is waited for: it still catches up,
/// and to roll back to its tip would undo what is settled on the chain.
///
/// # Errors
/// [`ChainError::UnknownBlock`], [`ChainError::OtherChain`] and [`ChainError::Pruned`] are found
/// before any listener is called. After another error the listeners may stand at different blocks;
/// they can be given again with their then best blocks.
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
    let tell = listeners.into_iter();
    let tell = tell.map(|(best, l)| (best.block_hash, l)).collect();
    for start in &starts {
        // synchronize_listeners looks here first.
        headers.insert(start.tip);
        log.put(&start.tip);
        log.put(&start.known);
    }
    let tip = {
        let source = Witness::new(&bitcoind, &log);
        init::synchronize_listeners(&source, bitcoind.network(), &mut headers, tell)
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

/// Keeps the headers of the last blocks, where they are missing: those of a new node, or of one that
/// did not store any so far.
async fn keep_last(
    bitcoind: &Bitcoind,
    headers: &mut RecentHeaders,
    log: &NotedOnce,
    tip: ValidatedBlockHeader,
) -> Result<(), ChainError> {
    headers.insert(tip);
    log.put(&tip);
    let mut block = tip;
    for _ in 0..KEPT_AT_LEAST.min(tip.height) {
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

/// The blocks above `lowest` (the lowest best block of all listeners) must still be there.
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

/// All listeners are at the same tip.
pub struct CaughtUp {
    bitcoind: Arc<Bitcoind>,
    headers: RecentHeaders,
    log: NotedOnce,
    tip: ValidatedBlockHeader,
}

/// What the task of [`CaughtUp::follow`] reports.
#[derive(Clone, Debug)]
pub struct Following {
    /// The best block that the listener has seen.
    pub tip: watch::Receiver<Tip>,
    /// Whether bitcoind can be followed.
    pub health: watch::Receiver<Health>,
}

impl CaughtUp {
    /// The block at which all listeners are now.
    pub fn tip(&self) -> Tip {
        tip_of(&self.tip.header, self.tip.height)
    }

    /// The same in LDK's type, for a ChannelManager that is made anew.
    pub fn best_block(&self) -> BestBlock {
        self.tip.to_best_block()
    }

    /// Deletes stored headers below this height, which no listener needs, not even after a crash.
    pub fn forget_headers_below(&self, height: u32) {
        self.log.forget_below(height);
    }

    /// Splits into the reports and the task that follows the tip until `stop` is cancelled.
    ///
    /// The task is for `tokio::spawn`; it calls `listener` with each block that comes or goes.
    /// A poll that is under way when `stop` comes is given up between two calls of the listener.
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
    fn a_pruned_bitcoind_is_refused_only_if_it_lacks_a_block_that_we_need() {
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
