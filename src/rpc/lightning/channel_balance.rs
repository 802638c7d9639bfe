//! ChannelBalance: what is whose in all channels together.

use crate::channels::list::{Channel, ChannelState};
use crate::rpc::proto::lnrpc::{Amount, ChannelBalanceResponse};
use crate::rpc::signed;

/// Sums in msat.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    local: u64,
    remote: u64,
    /// In HTLCs that come in.
    unsettled_local: u64,
    /// In HTLCs that go out.
    unsettled_remote: u64,
    opening_local: u64,
    opening_remote: u64,
}

impl Sums {
    fn add(&mut self, channel: &Channel) {
        let (local, remote) = match channel.state {
            ChannelState::Open => (&mut self.local, &mut self.remote),
            ChannelState::Opening => (&mut self.opening_local, &mut self.opening_remote),
            // Its money is on its way to the wallet.
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

/// The sums over all channels.
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

/// Present even if it is 0: clients look into it.
#[expect(clippy::unnecessary_wraps, reason = "the messages want it wrapped")]
fn amount(msat: u64) -> Option<Amount> {
    Some(Amount {
        sat: msat / 1000,
        msat,
    })
}
