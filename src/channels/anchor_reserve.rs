//! The reserve for forced closes: how much of the wallet it is now, and whether it is there.

use std::sync::Arc;

use bitcoin::Amount;
use lightning::chain::channelmonitor::{Balance, BalanceSource};
use lightning::ln::channel_state::ChannelDetails;

use super::balance::has_anchors;
use super::strangers::Strangers;
use crate::chain::FeeEstimates;
use crate::ldk::{ChainMonitor, ChannelManager, ChannelMonitor};
use crate::wallet::{Wallet, anchor_reserve, reserve_per_channel};

/// Blocks within which an urgent claim should confirm.
const URGENT_BLOCKS: u32 = 6;

/// What the wallet has to keep for the channels that there are.
pub struct AnchorReserve {
    manager: Arc<ChannelManager>,
    monitors: Arc<ChainMonitor>,
    fees: Arc<FeeEstimates>,
    wallet: Arc<Wallet>,
    strangers: Arc<Strangers>,
}

impl AnchorReserve {
    pub fn new(
        manager: Arc<ChannelManager>,
        monitors: Arc<ChainMonitor>,
        fees: Arc<FeeEstimates>,
        wallet: Arc<Wallet>,
        strangers: Arc<Strangers>,
    ) -> Self {
        Self {
            manager,
            monitors,
            fees,
            wallet,
            strangers,
        }
    }

    /// What has to stay in the wallet now.
    pub fn required(&self) -> Amount {
        self.required_with(0)
    }

    /// The same with so many more channels.
    pub fn required_with(&self, more: usize) -> Amount {
        let channels = self.channels().saturating_add(more);
        anchor_reserve(channels, self.fees.sat_per_kw(URGENT_BLOCKS))
    }

    /// What one more channel adds, unless there are many already.
    pub fn per_channel(&self) -> Amount {
        reserve_per_channel(self.fees.sat_per_kw(URGENT_BLOCKS))
    }

    /// What the wallet has to pay fees with: confirmed coins that are neither leased nor used by a claim.
    pub fn available(&self) -> Amount {
        self.wallet.usable()
    }

    /// What the wallet lacks with so many more channels; 0 if it has enough.
    pub fn missing_with(&self, more: usize) -> Amount {
        let required = self.required_with(more);
        required
            .checked_sub(self.available())
            .unwrap_or(Amount::ZERO)
    }

    /// Channels with anchors: those that LDK lists, from the moment when they are being opened, and closed
    /// ones as long as something of them may need a fee. No fee is paid for those of strangers before bitcoind
    /// knows their funding.
    fn channels(&self) -> usize {
        let listed = self.manager.list_channels();
        let may_need_fees_later =
            |one: &&ChannelDetails| has_anchors(one) && !self.strangers.is_stranger(one);
        let open = listed.iter().filter(may_need_fees_later).count();
        let height = self.manager.current_best_block().height;
        let ids = self.monitors.list_monitors().into_iter();
        let closed = ids.filter(|id| listed.iter().all(|channel| channel.channel_id != *id));
        let unresolved = closed.filter(|id| {
            let monitor = self.monitors.get_monitor(*id);
            monitor.is_ok_and(|monitor| {
                let point = monitor.get_funding_txo().into_bitcoin_outpoint();
                may_need_fees(&monitor, height) && !self.strangers.has_named(&point)
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
        // The closing transaction is in a block; it pays to the wallet.
        Balance::ClaimableAwaitingConfirmations { source, .. } => {
            *source != BalanceSource::CoopClose
        }
        // From its expiry on the HTLC is the peer's, who need not claim it soon.
        Balance::MaybePreimageClaimableHTLC { expiry_height, .. } => height <= *expiry_height,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use lightning::types::payment::PaymentHash;

    use super::*;

    #[test]
    fn a_closed_channel_counts_until_nothing_of_it_can_need_a_fee() {
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
