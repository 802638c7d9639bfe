//! Monitors of closed channels whose funding may not exist.

use lightning::chain::channelmonitor::{Balance, HolderCommitmentTransactionBalance};
use lightning::ln::types::ChannelId;

use crate::ldk::ChannelMonitor;

/// Returns a key for a closed channel, whose `user_channel_id` LDK does not keep. Like the ids of
/// open channels, it is random.
pub(super) fn key_of_closed(channel_id: &ChannelId) -> u128 {
    let (start, _) = channel_id.0.split_at(16);
    start
        .iter()
        .fold(0, |key, byte| key << 8 | u128::from(*byte))
}

/// Returns whether a closed channel waits for its funding or its spend, contains funds of ours, and
/// was opened by the peer: the opener pays the commitment fee.
pub(super) fn may_be_made_up(monitor: &ChannelMonitor) -> bool {
    let balances = monitor.get_claimable_balances();
    balances.iter().any(|balance| match balance {
        Balance::ClaimableOnChannelClose {
            balance_candidates, ..
        } => {
            let of_peer = |one: &HolderCommitmentTransactionBalance| {
                one.amount_satoshis > 0 && one.transaction_fee_satoshis == 0
            };
            balance_candidates.iter().any(of_peer)
        }
        _ => false,
    })
}
