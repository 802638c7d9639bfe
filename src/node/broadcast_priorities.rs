//! The priority of LDK's broadcasts, from what is at stake on chain.

use std::sync::Arc;

use bitcoin::{Transaction, TxIn};
use lightning::chain::channelmonitor::Balance;

use crate::chain::Priority;
use crate::channels::funding_spends::{FundingSpends, is_commitment};
use crate::channels::unfunded::{UnfundedChannels, Unseen};
use crate::ldk::{ChainMonitor, ChannelMonitor};

/// Computes the priority of transactions.
pub(super) struct BroadcastPriorities {
    pub(super) monitors: Arc<ChainMonitor>,
    pub(super) unfunded: Arc<UnfundedChannels>,
    pub(super) spends: Arc<FundingSpends>,
}

impl BroadcastPriorities {
    /// Returns the priority of a package, or `None` if it is not worth broadcasting: it closes a channel in
    /// which we have no balance and whose funding bitcoind does not know.
    pub(super) fn priority(&self, transactions: &[Transaction]) -> Option<Priority> {
        let mut priority = Priority::Urgent;
        for transaction in transactions {
            for input in &transaction.input {
                priority = priority.max(self.priority_of(transaction, input)?);
            }
        }
        Some(priority)
    }

    fn priority_of(&self, transaction: &Transaction, input: &TxIn) -> Option<Priority> {
        let is_commitment = is_commitment(transaction);
        let unseen = self.unfunded.unseen_spent_by(input);
        let Some(channel) = self.spends.spent_channel(input) else {
            if unseen == Some(Unseen::Worthless) {
                let (txid, point) = (transaction.compute_txid(), input.previous_output);
                tracing::debug!(%txid, %point, "not broadcast: bitcoind does not know the funding");
                return None;
            }
            // Every channel in which we have a balance is watched, at the latest once bitcoind knows its
            // funding.
            return Some(if is_commitment {
                Priority::Idle
            } else {
                Priority::Urgent
            });
        };
        if !is_commitment {
            return Some(Priority::Normal);
        }
        // The wallet's coins are not spent on a channel that may not exist.
        let is_worthless = unseen.is_some() || {
            let monitor = self.monitors.get_monitor(channel);
            monitor.is_ok_and(|monitor| !has_balance(&monitor))
        };
        Some(if is_worthless {
            Priority::Idle
        } else {
            Priority::Urgent
        })
    }
}

fn has_balance(monitor: &ChannelMonitor) -> bool {
    let balances = monitor.get_claimable_balances();
    balances.iter().any(|balance| match balance {
        Balance::ClaimableOnChannelClose { .. } => balance.claimable_amount_satoshis() > 0,
        _ => true,
    })
}

#[cfg(test)]
mod tests;
