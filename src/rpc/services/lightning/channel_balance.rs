//! ChannelBalance: the local and remote balances of all channels.

use crate::channels::list::{Channel, ChannelState};
use crate::rpc::signed;
use lnd_api::proto::lnrpc::{Amount, ChannelBalanceResponse};

/// Balances summed over channels, in msat.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    local: u64,
    remote: u64,
    /// In incoming HTLCs.
    unsettled_local: u64,
    /// In outgoing HTLCs.
    unsettled_remote: u64,
    opening_local: u64,
    opening_remote: u64,
}

impl Sums {
    fn add(&mut self, channel: &Channel) {
        let (local, remote) = match channel.state {
            ChannelState::Open => (&mut self.local, &mut self.remote),
            ChannelState::Opening => (&mut self.opening_local, &mut self.opening_remote),
            // Its balance is already being swept to the wallet.
            ChannelState::Closing => return,
        };
        *local = local.saturating_add(channel.local_balance_msat());
        *remote = remote.saturating_add(channel.remote_balance_msat());
        for htlc in &channel.pending_htlcs {
            let sum = if htlc.incoming {
                &mut self.unsettled_local
            } else {
                &mut self.unsettled_remote
            };
            *sum = sum.saturating_add(htlc.amount_msat);
        }
    }
}

/// Returns the balances summed over all channels.
pub(super) fn sum(channels: &[Channel]) -> ChannelBalanceResponse {
    let mut sums = Sums::default();
    channels.iter().for_each(|channel| sums.add(channel));
    ChannelBalanceResponse {
        balance: signed(sums.local / 1000),
        pending_open_balance: signed(sums.opening_local / 1000),
        local_balance: amount(sums.local),
        remote_balance: amount(sums.remote),
        unsettled_local_balance: amount(sums.unsettled_local),
        unsettled_remote_balance: amount(sums.unsettled_remote),
        pending_open_local_balance: amount(sums.opening_local),
        pending_open_remote_balance: amount(sums.opening_remote),
        custom_channel_data: Vec::new(),
    }
}

/// Wraps an amount. It is present even if zero: clients read it without checking.
#[expect(clippy::unnecessary_wraps, reason = "the message fields are optional")]
fn amount(msat: u64) -> Option<Amount> {
    Some(Amount {
        sat: msat / 1000,
        msat,
    })
}

#[cfg(test)]
mod tests {
    use lightning_types::payment::PaymentHash;

    use super::*;
    use crate::channels::list::PendingHtlc;
    use crate::rpc::services::lightning::test_data;

    fn htlc(incoming: bool, amount_msat: u64) -> PendingHtlc {
        PendingHtlc {
            incoming,
            amount_msat,
            payment_hash: PaymentHash([1; 32]),
            expiry_height: 200,
            htlc_id: Some(1),
        }
    }

    #[test]
    fn sums_are_exact_in_msat() {
        let mut with_htlcs = test_data::channel();
        with_htlcs.balance.local_msat += 999;
        with_htlcs.pending_htlcs = vec![htlc(true, 1500), htlc(false, 2001), htlc(false, 1)];
        let mut opening = test_data::channel();
        opening.state = ChannelState::Opening;
        let mut closing = test_data::channel();
        closing.state = ChannelState::Closing;
        let shown = sum(&[test_data::channel(), with_htlcs, opening, closing]);
        let msat = |amount: &Option<Amount>| amount.unwrap().msat;
        assert_eq!(shown.balance, 110_296);
        assert_eq!(msat(&shown.local_balance), 110_296_999);
        assert_eq!(shown.local_balance.unwrap().sat, 110_296);
        assert_eq!(msat(&shown.remote_balance), 682_762_000);
        assert_eq!(msat(&shown.unsettled_local_balance), 1500);
        assert_eq!(msat(&shown.unsettled_remote_balance), 2002);
        assert_eq!(shown.pending_open_balance, 55_148);
        assert_eq!(msat(&shown.pending_open_local_balance), 55_148_000);
        assert_eq!(msat(&shown.pending_open_remote_balance), 341_381_000);
    }

    #[test]
    fn zero_amounts_are_present() {
        let shown = sum(&[]);
        let amounts = [
            shown.local_balance,
            shown.remote_balance,
            shown.unsettled_local_balance,
            shown.unsettled_remote_balance,
            shown.pending_open_local_balance,
            shown.pending_open_remote_balance,
        ];
        assert_eq!(amounts, [Some(Amount::default()); 6]);
    }
}
