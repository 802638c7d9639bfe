//! Looks for the fundings of channels that strangers opened, and forgets monitors that have nothing to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::updates::Updates;
use crate::chain::{Bitcoind, ChainError};
use crate::channels::spends::FundingSpends;
use crate::channels::strangers::Strangers;
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
        for (id, point) in self.strangers.to_look_for(Instant::now()) {
            let found = self.bitcoind.has_unspent(&point).await?;
            if let Some((channel_id, point)) = self.strangers.looked(id, found, Instant::now()) {
                self.spends.watch(channel_id, point);
            }
        }
        Ok(())
    }

    /// False if something is left to be done.
    fn archive(&self) -> bool {
        let open = self.manager.list_channels();
        let open = open.iter().map(|channel| channel.channel_id).collect();
        if !self.updates.archive(&open) {
            return false;
        }
        let mut closed = self.strangers.closed_channels();
        let all = closed.len();
        closed.retain(|channel| self.monitors.get_monitor(*channel).is_err());
        self.strangers.forget(&closed);
        closed.len() == all
    }
}
