//! Looks up the funding of channels that unknown peers opened, and archives fully resolved monitors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightning::chain::channelmonitor::Balance;
use lightning::ln::types::ChannelId;
use tokio_util::sync::CancellationToken;

use super::updates::Updates;
use crate::chain::{Bitcoind, ChainError};
use crate::channels::close::BroadcastCommitment;
use crate::channels::funding_spends::FundingSpends;
use crate::channels::unfunded::{Found, Sought, UnfundedChannels};
use crate::ldk::{ChainMonitor, ChannelManager};

/// How often monitors of resolved channels are archived.
const ARCHIVE_INTERVAL: Duration = Duration::from_secs(3_600);
/// When to retry if bitcoind is unavailable or monitors cannot be archived yet.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Watches channels whose funding is not confirmed, and archives monitors.
pub(super) struct Unfunded {
    pub(super) bitcoind: Arc<Bitcoind>,
    pub(super) unfunded: Arc<UnfundedChannels>,
    pub(super) spends: Arc<FundingSpends>,
    pub(super) manager: Arc<ChannelManager>,
    pub(super) monitors: Arc<ChainMonitor>,
    pub(super) updates: Arc<Updates>,
    pub(super) broadcast_commitment: Arc<BroadcastCommitment>,
}

impl Unfunded {
    /// Runs until `stop` is cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut next_archive = Instant::now();
        loop {
            let now = Instant::now();
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = self.look_up_due() => result,
            };
            let mut next = match result {
                Ok(()) => self.unfunded.next_look(),
                Err(_) => Some(now + RETRY_INTERVAL),
            };
            if now >= next_archive || !self.unfunded.closed_channels().is_empty() {
                if self.archive() {
                    next_archive = now + ARCHIVE_INTERVAL;
                } else {
                    next = next.into_iter().chain([now + RETRY_INTERVAL]).min();
                }
            }
            let next = next.map_or(next_archive, |next| next.min(next_archive));
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.unfunded.changed() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    /// Looks up the funding outputs that are due.
    async fn look_up_due(&self) -> Result<(), ChainError> {
        for sought in self.unfunded.to_look_for(Instant::now()) {
            let channel_id = sought.channel_id;
            if sought.closed && !self.waits_for_spend(channel_id) {
                self.unfunded.forget(&[channel_id]);
                continue;
            }
            let found = self.find(&sought).await?;
            let id = sought.user_channel_id;
            if !self.unfunded.looked(id, found, Instant::now()) {
                continue;
            }
            if let Ok(monitor) = self.monitors.get_monitor(channel_id) {
                self.spends.watch_monitored(&monitor);
            }
            if sought.closed {
                // No fee was paid for the commitment while its funding was unknown.
                (self.broadcast_commitment)(channel_id);
            }
        }
        Ok(())
    }

    async fn find(&self, sought: &Sought) -> Result<Found, ChainError> {
        for with_mempool in [true, false] {
            let answer = self.bitcoind.unspent_output(&sought.point, with_mempool);
            let answer = answer.await?;
            let Ok(monitor) = self.monitors.get_monitor(sought.channel_id) else {
                return Ok(Found::Nothing);
            };
            let script = monitor.get_funding_script();
            let found = sought.judge(&script, answer.as_ref());
            // Not found with the mempool: a transaction in the mempool may spend it.
            if found != Found::Nothing {
                return Ok(found);
            }
        }
        Ok(Found::Nothing)
    }

    /// Whether the monitor waits for the funding output to be spent. False if the channel is closed on
    /// chain or its monitor is gone.
    fn waits_for_spend(&self, channel_id: ChannelId) -> bool {
        let Ok(monitor) = self.monitors.get_monitor(channel_id) else {
            return false;
        };
        let balances = monitor.get_claimable_balances();
        let waits = |balance: &Balance| matches!(balance, Balance::ClaimableOnChannelClose { .. });
        balances.iter().any(waits)
    }

    /// Archives monitors. Returns false if some of the closed channels remain.
    fn archive(&self) -> bool {
        let open = self.manager.list_channels();
        let open = open.iter().map(|channel| channel.channel_id).collect();
        if !self.updates.archive(&open) {
            return false;
        }
        let (gone, left): (Vec<_>, Vec<_>) = self
            .unfunded
            .closed_channels()
            .into_iter()
            .partition(|channel| self.monitors.get_monitor(*channel).is_err());
        self.unfunded.forget(&gone);
        // LDK does not notify the monitor of a cooperative close. Signing the commitment, which the gate does
        // not broadcast, allows the monitor to be archived.
        let agreed = left.iter().filter(|id| self.waits_for_spend(**id));
        agreed.for_each(|id| (self.broadcast_commitment)(*id));
        left.is_empty()
    }
}
