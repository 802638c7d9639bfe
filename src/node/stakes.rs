//! What we have at stake in a transaction that LDK broadcasts.

use std::sync::Arc;

use bitcoin::Transaction;
use lightning::chain::channelmonitor::Balance;

use crate::chain::Priority;
use crate::channels::spends::{FundingSpends, is_commitment};
use crate::channels::strangers::Strangers;
use crate::ldk::{ChainMonitor, ChannelMonitor};

pub(super) struct Stakes {
    pub(super) monitors: Arc<ChainMonitor>,
    pub(super) strangers: Arc<Strangers>,
    pub(super) spends: Arc<FundingSpends>,
}

impl Stakes {
    /// None if it is not worth trying: the transaction ends a channel whose funding bitcoind does not know
    /// and in which nothing is ours.
    pub(super) fn priority(&self, transactions: &[Transaction]) -> Option<Priority> {
        let mut priority = Priority::Urgent;
        for transaction in transactions {
            for input in &transaction.input {
                let point = input.previous_output;
                let Some(channel) = self.spends.channel(&point) else {
                    if self.strangers.is_unseen(&point) {
                        return None;
                    }
                    if is_commitment(transaction) {
                        // Each channel with money of ours is watched.
                        priority = Priority::Idle;
                    }
                    continue;
                };
                if !is_commitment(transaction) {
                    priority = priority.max(Priority::Normal);
                } else if let Ok(monitor) = self.monitors.get_monitor(channel)
                    && !holds_something(&monitor)
                {
                    priority = Priority::Idle;
                }
            }
        }
        Some(priority)
    }
}

fn holds_something(monitor: &ChannelMonitor) -> bool {
    let balances = monitor.get_claimable_balances();
    balances.iter().any(|balance| match balance {
        Balance::ClaimableOnChannelClose { .. } => balance.claimable_amount_satoshis() > 0,
        _ => true,
    })
}
