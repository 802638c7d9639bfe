//! Polls bitcoind for new tips.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::Block;
use bitcoin::block::Header;
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BestBlock, Listen};
use lightning_block_sync::poll::{ChainPoller, ChainTip};
use lightning_block_sync::{BlockSourceError, SpvClient};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::witness::{Witness, chain_error};
use super::{CaughtUp, Health, Listener, Tip, tip_of};
use crate::chain::error::ChainError;
use crate::chain::headers::{self, DedupLog};
use crate::sync::lock;
use crash_points::panics;

/// Minimum poll interval while bitcoind is unavailable.
const DEGRADED_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Number of blocks after startup by which all stored listeners have been written again: LDK writes each
/// monitor at least once in 50 blocks, and everything else more often.
const ALL_WRITTEN_AFTER: u32 = 100;

/// The senders of the reports in [`Following`](super::Following).
pub(super) struct Reports {
    pub(super) tip: watch::Sender<Tip>,
    pub(super) health: watch::Sender<Health>,
}

impl Reports {
    /// Publishes the health, with one log line per change.
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

/// Polls for new tips until `stop` is cancelled.
pub(super) async fn follow_tip(
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
    let seen = TrackedListener {
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

/// Deletes headers that no listener needs any more, once per block, after all stored listeners have moved
/// past the block at startup.
fn forget_old_headers(log: &DedupLog, started_at: u32, last: Tip, now: Tip) {
    let settled = now.height >= started_at.saturating_add(ALL_WRITTEN_AFTER);
    if settled && last.height != now.height {
        let kept = u32::try_from(headers::CAPACITY).unwrap_or(u32::MAX);
        log.forget_below(now.height.saturating_sub(kept));
    }
}

/// Derives the health from the result of a poll.
///
/// lightning-block-sync reports a better tip even if it could not fetch its blocks, and drops the error. So
/// the tip is compared with the listener's, and the reason comes from the [`Witness`].
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

/// The actual listener, and its current tip.
struct TrackedListener {
    listener: Arc<Listener>,
    tip: Mutex<Tip>,
}

impl TrackedListener {
    fn tip(&self) -> Tip {
        *lock(&self.tip)
    }

    fn set_tip(&self, tip: Tip) {
        *lock(&self.tip) = tip;
    }
}

impl Listen for TrackedListener {
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
        // The fork point's time is not known; the next block follows immediately with its own.
        let time = self.tip().time;
        self.set_tip(Tip {
            height: fork_point.height,
            hash: fork_point.block_hash,
            time,
        });
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;

    use super::*;

    #[tokio::test]
    async fn health_and_tip_are_published_once_per_change() {
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
