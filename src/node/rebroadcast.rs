//! Sends again what is in no block: bitcoind may have forgotten it, or never had it.
//!
//! LDK repeats its own claims by itself. Here are the transactions of which it takes no care once they
//! are broadcast: fundings and payments of the wallet, and closes that were agreed on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use crate::chain::parents_first;
use crate::chain::sync::{Following, Health};
use crate::channels::spends::FundingSpends;
use crate::wallet::Wallet;

/// How often, if neither a block comes nor bitcoind.
const INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Rebroadcast {
    pub(super) wallet: Arc<Wallet>,
    pub(super) spends: Arc<FundingSpends>,
    pub(super) gate: Arc<Gate>,
    pub(super) following: Following,
}

impl Rebroadcast {
    /// At start, with each block, each time bitcoind is back, and every minute, until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut minute = tokio::time::interval(INTERVAL);
        minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                _ = minute.tick() => Ok(()),
                changed = self.following.tip.changed() => changed,
                changed = self.following.health.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            self.send_again();
        }
    }

    fn send_again(&self) {
        if *self.following.health.borrow() != Health::Ok {
            return;
        }
        let mut all = self.spends.unconfirmed_closes();
        all.extend(self.wallet.to_rebroadcast());
        for transaction in parents_first(all) {
            self.gate.repeat(transaction);
        }
    }
}
