//! Rebroadcasts unconfirmed transactions, which bitcoind may have dropped or never received.
//!
//! LDK rebroadcasts its own claims. This module covers the transactions that LDK does not: the wallet's
//! fundings and payments, and cooperative closes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use crate::chain::parents_first;
use crate::chain::sync::{Following, Health};
use crate::channels::funding_spends::FundingSpends;
use crate::wallet::Wallet;

/// How often to rebroadcast if neither a new block nor bitcoind's return triggers it earlier.
const INTERVAL: Duration = Duration::from_secs(60);

/// Rebroadcasts the wallet's transactions and cooperative closes.
pub(super) struct Rebroadcast {
    pub(super) wallet: Arc<Wallet>,
    pub(super) spends: Arc<FundingSpends>,
    pub(super) gate: Arc<Gate>,
    pub(super) following: Following,
}

impl Rebroadcast {
    /// Rebroadcasts at startup, with each block, whenever bitcoind is back, and every minute, until `stop`
    /// is cancelled.
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
            self.rebroadcast_all();
        }
    }

    fn rebroadcast_all(&self) {
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
