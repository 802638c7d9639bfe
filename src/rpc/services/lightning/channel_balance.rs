//! ChannelBalance: the local and remote balances of all channels.

use tonic::Status;

use crate::channels::total::TotalBalance;
use crate::rpc::{Context, signed};
use lnd_api::proto::lnrpc::{Amount, ChannelBalanceRequest, ChannelBalanceResponse};

/// Returns the sums over all channels.
pub(super) fn sum(
    context: &Context,
    _: &ChannelBalanceRequest,
) -> Result<ChannelBalanceResponse, Status> {
    Ok(message(&context.channels.balance()))
}

/// Returns lnd's message.
fn message(total: &TotalBalance) -> ChannelBalanceResponse {
    ChannelBalanceResponse {
        balance: signed(total.local / 1000),
        pending_open_balance: signed(total.opening_local / 1000),
        local_balance: amount(total.local),
        remote_balance: amount(total.remote),
        unsettled_local_balance: amount(total.unsettled_local),
        unsettled_remote_balance: amount(total.unsettled_remote),
        pending_open_local_balance: amount(total.opening_local),
        pending_open_remote_balance: amount(total.opening_remote),
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
    use crate::channels::list::{ChannelState, PendingHtlc};
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
        let channels = [test_data::channel(), with_htlcs, opening, closing];
        let shown = message(&TotalBalance::of(&channels));
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
        let shown = message(&TotalBalance::default());
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
