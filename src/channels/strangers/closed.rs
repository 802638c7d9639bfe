//! Monitors of closed channels that a peer may have made up.

use lightning::chain::channelmonitor::{Balance, HolderCommitmentTransactionBalance};
use lightning::ln::types::ChannelId;

use crate::ldk::ChannelMonitor;

/// LDK does not keep the number of a closed channel. Those of open ones are random, too.
pub(super) fn key_of_closed(channel_id: &ChannelId) -> u128 {
    let (start, _) = channel_id.0.split_at(16);
    start
        .iter()
        .fold(0, |key, byte| key << 8 | u128::from(*byte))
}

/// Whether a closed channel waits for its funding or its spend, with money of ours in it, and the peer
/// opened it: the opener pays the fee of the commitment.
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
