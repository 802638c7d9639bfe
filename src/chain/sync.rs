//! Keeps listeners (LDK's monitors and manager, the wallet, the sweeper) on bitcoind's best chain.
//!
//! First [`catch_up`] brings each listener from the block at which it stopped to the tip; then
//! [`CaughtUp::follow`] polls for new tips in a task. A bitcoind that is away makes the node
//! degraded, not dead: [`Health`] says so, and the polling goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::{Block, BlockHash, Network};
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BestBlock, Listen};
use lightning_block_sync::poll::{ChainPoller, ChainTip, Validate, ValidatedBlockHeader};
use lightning_block_sync::{
    AsyncBlockSourceResult, BlockData, BlockHeaderData, BlockSource, BlockSourceError, Cache,
    SpvClient, init,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::bitcoind::{Bitcoind, ChainInfo};
use super::error::ChainError;
use super::headers::{self, NotedOnce, RecentHeaders, StoredHeaders};
use crate::panics;

/// Pause between polls of bitcoind for a new block, if the config says nothing else.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The same on regtest, where blocks come when a test wants them.
pub const REGTEST_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Pause between polls while bitcoind is away.
const DEGRADED_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// So many blocks that bitcoind does not know may be rolled back at a start. No network that is in
/// use has reorgs of a day: beyond that it is another chain.
pub const MAX_ROLLBACK: u32 = 144;

/// After a start the headers of at least so many blocks are stored, also on a node that is new.
const KEPT_AT_LEAST: u32 = 12;

/// LDK writes each monitor at least once in 50 blocks, and everything else more often.
const ALL_WRITTEN: u32 = 100;

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

/// Where a listener stands.
struct Start {
    tip: ValidatedBlockHeader,
    /// The newest block of its chain that bitcoind knows, in its best chain or beside it.
    known: ValidatedBlockHeader,
}

impl Start {
    fn lowest(&self) -> u32 {
        self.tip.height.min(self.known.height)
    }
}

/// One for each block at which a listener stands.
async fn starts(
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
            tracing::warn!(from, to, %hash, "bitcoind does not know a block that we have followed");
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
        // All chains of a network share the first block: it proves nothing.
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

/// bitcoind's header of this block.
async fn find(
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

/// Waits until bitcoind's chain has at least as much work as each listener's.
async fn wait_for_work(bitcoind: &Bitcoind, starts: &[Start]) -> Result<ChainInfo, ChainError> {
    let most = starts.iter().map(|start| start.tip);
    let most = most.max_by_key(|tip| tip.chainwork);
    let mut said = false;
    loop {
        let info = bitcoind.wait_until_ready(&CancellationToken::new()).await?;
        let best = bitcoind.find_header(&info.best_block).await?;
        let has = |work| best.is_some_and(|best| best.chainwork >= work);
        let Some(ours) = most.filter(|most| !has(most.chainwork)) else {
            return Ok(info);
        };
        if !said {
            let (address, ours, theirs) = (bitcoind.address(), ours.height, info.blocks);
            let behind = ChainError::Behind {
                address,
                ours,
                theirs,
            };
            tracing::warn!("{behind}");
            said = true;
        }
        tokio::time::sleep(default_poll_interval(bitcoind.network())).await;
    }
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

struct Reports {
    tip: watch::Sender<Tip>,
    health: watch::Sender<Health>,
}

impl Reports {
    /// Publishes the state of bitcoind; one log line per change.
    fn health(&self, state: Health) {
        self.health.send_if_modified(|now| {
            if *now == state {
                return false;
            }
            match &state {
                Health::Ok => tracing::info!("following the chain again"),
                Health::Degraded(reason) => tracing::warn!("degraded: {reason}"),
            }
            *now = state;
            true
        });
    }

    fn tip(&self, tip: Tip) {
        self.tip
            .send_if_modified(|now| std::mem::replace(now, tip) != tip);
    }
}

async fn follow_tip(
    start: CaughtUp,
    listener: Arc<Listener>,
    poll_interval: Duration,
    reports: Reports,
    stop: CancellationToken,
) {
    let CaughtUp {
        bitcoind,
        mut headers,
        log,
        tip,
    } = start;
    let seen = Seen {
        listener,
        tip: Mutex::new(tip_of(&tip.header, tip.height)),
    };
    let started_at = tip.height;
    let source = Witness::new(&bitcoind, &log);
    let poller = ChainPoller::new(&source, bitcoind.network());
    let mut client = SpvClient::new(tip, poller, &mut headers, &seen);
    loop {
        let polled = tokio::select! {
            polled = client.poll_best_tip() => polled,
            () = stop.cancelled() => return,
        };
        let health = judge(polled.map(|(tip, _)| tip), seen.tip(), &source);
        let pause = match health {
            Health::Ok => poll_interval,
            Health::Degraded(_) => poll_interval.max(DEGRADED_POLL_INTERVAL),
        };
        forget_old_headers(&log, started_at, *reports.tip.borrow(), seen.tip());
        reports.tip(seen.tip());
        reports.health(health);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Deletes headers that no listener needs any more, once for each block. After some blocks no
/// listener on disk is at a block from before the start.
fn forget_old_headers(log: &NotedOnce, started_at: u32, last: Tip, now: Tip) {
    let settled = now.height >= started_at.saturating_add(ALL_WRITTEN);
    if settled && last.height != now.height {
        let kept = u32::try_from(headers::CAPACITY).unwrap_or(u32::MAX);
        log.forget_below(now.height.saturating_sub(kept));
    }
}

/// What a poll says of bitcoind.
///
/// lightning-block-sync reports a better tip as found even if it could not fetch its blocks, and
/// swallows why. So the listener's tip is compared, and the reason comes from the [`Witness`].
fn judge(polled: Result<ChainTip, BlockSourceError>, ours: Tip, source: &Witness<'_>) -> Health {
    let last_error = source.take_error();
    let unknown = || "blocks could not be fetched from bitcoind".to_owned();
    match polled {
        Ok(ChainTip::Common) => Health::Ok,
        Ok(ChainTip::Better(theirs)) if theirs.header.block_hash() == ours.hash => Health::Ok,
        Ok(ChainTip::Better(_)) => Health::Degraded(last_error.unwrap_or_else(unknown)),
        Ok(ChainTip::Worse(theirs)) => {
            let address = source.bitcoind.address();
            let (ours, theirs) = (ours.height, theirs.height);
            Health::Degraded(
                ChainError::Behind {
                    address,
                    ours,
                    theirs,
                }
                .to_string(),
            )
        }
        Err(error) => Health::Degraded(chain_error(source.bitcoind, error).to_string()),
    }
}

/// The real listener, and the tip to which it was brought.
struct Seen {
    listener: Arc<Listener>,
    tip: Mutex<Tip>,
}

impl Seen {
    fn tip(&self) -> Tip {
        *self.tip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_tip(&self, tip: Tip) {
        *self.tip.lock().unwrap_or_else(PoisonError::into_inner) = tip;
    }
}

impl Listen for Seen {
    fn filtered_block_connected(&self, header: &Header, txs: &TransactionData, height: u32) {
        self.listener.filtered_block_connected(header, txs, height);
        self.set_tip(tip_of(header, height));
    }

    fn block_connected(&self, block: &Block, height: u32) {
        panics::at(panics::Place::Chain);
        self.listener.block_connected(block, height);
        let tip = tip_of(&block.header, height);
        self.set_tip(tip);
        tracing::debug!(height, hash = %tip.hash, "block connected");
    }

    fn blocks_disconnected(&self, fork_point: BestBlock) {
        tracing::info!(
            fork_height = fork_point.height,
            "reorg: blocks disconnected"
        );
        self.listener.blocks_disconnected(fork_point);
        // The fork point's header is not given; its time is replaced by the next block's at once.
        let time = self.tip().time;
        self.set_tip(Tip {
            height: fork_point.height,
            hash: fork_point.block_hash,
            time,
        });
    }
}

/// A bitcoind that remembers why its last failed call failed, and notes the headers that it gives.
///
/// lightning-block-sync asks for the headers on its way to a block before it hands the block to a
/// listener. So a header is on disk no later than a listener that stands on its block.
struct Witness<'a> {
    bitcoind: &'a Bitcoind,
    log: &'a NotedOnce,
    last_error: Mutex<Option<String>>,
}

impl<'a> Witness<'a> {
    fn new(bitcoind: &'a Bitcoind, log: &'a NotedOnce) -> Self {
        Self {
            bitcoind,
            log,
            last_error: Mutex::new(None),
        }
    }

    fn note<T>(&self, result: Result<T, BlockSourceError>) -> Result<T, BlockSourceError> {
        result.map_err(|error| {
            let error = chain_error(self.bitcoind, error);
            let mut last = self
                .last_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *last = Some(error.to_string());
            error.into()
        })
    }

    fn take_error(&self) -> Option<String> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl BlockSource for Witness<'_> {
    fn get_header<'a>(
        &'a self,
        hash: &'a BlockHash,
        height: Option<u32>,
    ) -> AsyncBlockSourceResult<'a, BlockHeaderData> {
        Box::pin(async move {
            let header = self.note(self.bitcoind.get_header(hash, height).await)?;
            self.log.put(&header);
            Ok(header)
        })
    }

    fn get_block<'a>(&'a self, hash: &'a BlockHash) -> AsyncBlockSourceResult<'a, BlockData> {
        Box::pin(async move { self.note(self.bitcoind.get_block(hash).await) })
    }

    fn get_best_block(&self) -> AsyncBlockSourceResult<'_, (BlockHash, Option<u32>)> {
        Box::pin(async move { self.note(self.bitcoind.get_best_block().await) })
    }
}

/// Our own error again, or what lightning-block-sync found wrong with bitcoind's data.
fn chain_error(bitcoind: &Bitcoind, error: BlockSourceError) -> ChainError {
    match error.into_inner().downcast::<ChainError>() {
        Ok(error) => *error,
        Err(other) => bitcoind.bad_answer("getblock", &other.to_string()),
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

    #[tokio::test]
    async fn health_and_tip_are_announced_once_per_change() {
        let genesis = bitcoin::constants::genesis_block(Network::Regtest).header;
        let tip = tip_of(&genesis, 0);
        let (tips, mut tip_seen) = watch::channel(tip);
        let (healths, mut health_seen) = watch::channel(Health::Ok);
        let reports = Reports {
            tip: tips,
            health: healths,
        };
        reports.tip(tip);
        reports.health(Health::Ok);
        assert!(!tip_seen.has_changed().unwrap() && !health_seen.has_changed().unwrap());
        reports.health(Health::Degraded("away".to_owned()));
        assert_eq!(
            *health_seen.borrow_and_update(),
            Health::Degraded("away".to_owned())
        );
        reports.health(Health::Degraded("away".to_owned()));
        assert!(!health_seen.has_changed().unwrap());
        reports.tip(Tip { height: 1, ..tip });
        assert_eq!(tip_seen.borrow_and_update().height, 1);
    }
}
