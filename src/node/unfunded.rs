//! Looks for the fundings of channels that strangers opened, and forgets monitors that have nothing to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightning::chain::channelmonitor::Balance;
use lightning::ln::types::ChannelId;
use tokio_util::sync::CancellationToken;

use super::updates::Updates;
use crate::chain::{Bitcoind, ChainError};
use crate::channels::close::BroadcastCommitment;
use crate::channels::spends::FundingSpends;
use crate::channels::strangers::{Found, Sought, Strangers};
use crate::ldk::{ChainMonitor, ChannelManager};

/// Monitors of channels that were resolved long ago are put aside this often.
const ARCHIVE: Duration = Duration::from_secs(3_600);
/// If bitcoind is away, or if monitors cannot be archived just now.
const RETRY: Duration = Duration::from_secs(2);

pub(super) struct Unfunded {
    pub(super) bitcoind: Arc<Bitcoind>,
    pub(super) strangers: Arc<Strangers>,
    pub(super) spends: Arc<FundingSpends>,
    pub(super) manager: Arc<ChannelManager>,
    pub(super) monitors: Arc<ChainMonitor>,
    pub(super) updates: Arc<Updates>,
    pub(super) broadcast_commitment: Arc<BroadcastCommitment>,
}

impl Unfunded {
    /// Until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut next_archive = Instant::now();
        loop {
            let now = Instant::now();
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look() => looked,
            };
            let mut next = match looked {
                Ok(()) => self.strangers.next_look(),
                Err(_) => Some(now + RETRY),
            };
            if now >= next_archive || !self.strangers.closed_channels().is_empty() {
                if self.archive() {
                    next_archive = now + ARCHIVE;
                } else {
                    next = next.into_iter().chain([now + RETRY]).min();
                }
            }
            let next = next.map_or(next_archive, |next| next.min(next_archive));
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.strangers.changed() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    /// Asks bitcoind for the fundings that are due.
    async fn look(&self) -> Result<(), ChainError> {
        for sought in self.strangers.to_look_for(Instant::now()) {
            let channel_id = sought.channel_id;
            if sought.closed && !self.waits_for_spend(channel_id) {
                self.strangers.forget(&[channel_id]);
                continue;
            }
            let found = self.find(&sought).await?;
            let id = sought.user_channel_id;
            if !self.strangers.looked(id, found, Instant::now()) {
                continue;
            }
            if let Ok(monitor) = self.monitors.get_monitor(channel_id) {
                self.spends.watch_monitored(&monitor);
            }
            if sought.closed {
                // Without its funding nothing was paid to bring it into the mempool.
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
            // What spends it may be in the mempool.
            if found != Found::Nothing {
                return Ok(found);
            }
        }
        Ok(Found::Nothing)
    }

    /// False if the chain has decided about the channel, or if its monitor is gone.
    fn waits_for_spend(&self, channel_id: ChannelId) -> bool {
        let Ok(monitor) = self.monitors.get_monitor(channel_id) else {
            return false;
        };
        let balances = monitor.get_claimable_balances();
        let waits = |balance: &Balance| matches!(balance, Balance::ClaimableOnChannelClose { .. });
        balances.iter().any(waits)
    }

    /// False if something is left to be done.
    fn archive(&self) -> bool {
        let open = self.manager.list_channels();
        let open = open.iter().map(|channel| channel.channel_id).collect();
        if !self.updates.archive(&open) {
            return false;
        }
        let (gone, left): (Vec<_>, Vec<_>) = self
            .strangers
            .closed_channels()
            .into_iter()
            .partition(|channel| self.monitors.get_monitor(*channel).is_err());
        self.strangers.forget(&gone);
        // LDK does not tell the monitor of a close that was agreed on. It can go once its commitment is signed,
        // which the gate does not let out.
        let agreed = left.iter().filter(|id| self.waits_for_spend(**id));
        agreed.for_each(|id| (self.broadcast_commitment)(*id));
        left.is_empty()
    }
}
