//! The on-chain reserve for force closes: the required amount, and how much of it the wallet has.

use std::sync::Arc;

use bitcoin::Amount;
use lightning::chain::channelmonitor::{Balance, BalanceSource};
use lightning::ln::channel_state::ChannelDetails;

use super::balance::has_anchors;
use super::unfunded::UnfundedChannels;
use crate::chain::FeeEstimates;
use crate::ldk::{ChainMonitor, ChannelManager, ChannelMonitor};
use crate::wallet::{Wallet, anchor_reserve, reserve_per_channel};

/// The confirmation target, in blocks, of an urgent claim.
const URGENT_BLOCKS: u32 = 6;

/// The amount that the wallet has to keep for the existing anchor channels.
pub struct AnchorReserve {
    manager: Arc<ChannelManager>,
    monitors: Arc<ChainMonitor>,
    fees: Arc<FeeEstimates>,
    wallet: Arc<Wallet>,
    unfunded: Arc<UnfundedChannels>,
}

impl AnchorReserve {
    pub fn new(
        manager: Arc<ChannelManager>,
        monitors: Arc<ChainMonitor>,
        fees: Arc<FeeEstimates>,
        wallet: Arc<Wallet>,
        unfunded: Arc<UnfundedChannels>,
    ) -> Self {
        Self {
            manager,
            monitors,
            fees,
            wallet,
            unfunded,
        }
    }

    /// Returns the amount that has to stay in the wallet now.
    pub fn required(&self) -> Amount {
        self.required_with(0)
    }

    /// Returns the amount required with `more` additional channels.
    pub fn required_with(&self, more: usize) -> Amount {
        let channels = self.channels().saturating_add(more);
        anchor_reserve(channels, self.fees.sat_per_kw(URGENT_BLOCKS))
    }

    /// Returns the amount that one more channel adds; 0 once the reserve has reached its maximum.
    pub fn per_channel(&self) -> Amount {
        reserve_per_channel(self.fees.sat_per_kw(URGENT_BLOCKS))
    }

    /// Returns the funds available for fees: confirmed outputs that are neither leased nor used by
    /// a claim.
    pub fn available(&self) -> Amount {
        self.wallet.usable()
    }

    /// Returns the amount missing in the wallet with `more` additional channels; 0 if it has
    /// enough.
    pub fn missing_with(&self, more: usize) -> Amount {
        let required = self.required_with(more);
        required
            .checked_sub(self.available())
            .unwrap_or(Amount::ZERO)
    }

    /// Counts the anchor channels: those that LDK lists, from the beginning of the opening, and
    /// closed ones while any of their outputs may need a fee. Channels of unknown peers do not
    /// count before bitcoind knows their funding, as no fees are paid for them.
    fn channels(&self) -> usize {
        let listed = self.manager.list_channels();
        let may_need_fees_later =
            |one: &&ChannelDetails| has_anchors(one) && !self.unfunded.has_unseen_funding(one);
        let open = listed.iter().filter(may_need_fees_later).count();
        let height = self.manager.current_best_block().height;
        let ids = self.monitors.list_monitors().into_iter();
        let closed = ids.filter(|id| listed.iter().all(|channel| channel.channel_id != *id));
        let unresolved = closed.filter(|id| {
            let monitor = self.monitors.get_monitor(*id);
            monitor.is_ok_and(|monitor| {
                let point = monitor.get_funding_txo().into_bitcoin_outpoint();
                may_need_fees(&monitor, height) && !self.unfunded.has_named(&point)
            })
        });
        open + unresolved.count()
    }
}

fn may_need_fees(monitor: &ChannelMonitor, height: u32) -> bool {
    let kind = monitor.channel_type_features();
    let anchors =
        kind.supports_anchors_zero_fee_htlc_tx() || kind.supports_anchor_zero_fee_commitments();
    anchors
        && monitor
            .get_claimable_balances()
            .iter()
            .any(|balance| is_unresolved(balance, height))
}

fn is_unresolved(balance: &Balance, height: u32) -> bool {
    match balance {
        // The closing transaction is confirmed and pays to the wallet.
        Balance::ClaimableAwaitingConfirmations { source, .. } => {
            *source != BalanceSource::CoopClose
        }
        // After its expiry the HTLC belongs to the peer, which need not claim it soon.
        Balance::MaybePreimageClaimableHTLC { expiry_height, .. } => height <= *expiry_height,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use lightning::types::payment::PaymentHash;

    use super::*;

    #[test]
    fn closed_channels_count_while_an_output_may_need_a_fee() {
        let awaiting = |source| Balance::ClaimableAwaitingConfirmations {
            amount_satoshis: 1,
            confirmation_height: 1,
            source,
        };
        assert!(is_unresolved(
            &awaiting(BalanceSource::HolderForceClosed),
            1
        ));
        assert!(is_unresolved(&awaiting(BalanceSource::Htlc), 1));
        assert!(!is_unresolved(&awaiting(BalanceSource::CoopClose), 1));
        let held = Balance::MaybePreimageClaimableHTLC {
            amount_satoshis: 1,
            expiry_height: 100,
            payment_hash: PaymentHash([0; 32]),
        };
        assert!(is_unresolved(&held, 100) && !is_unresolved(&held, 101));
    }
}
