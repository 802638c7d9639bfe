//! The balances of all channels together.

use super::list::{Channel, ChannelState};

/// Balances summed over channels, in msat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TotalBalance {
    pub local: u64,
    pub remote: u64,
    /// In incoming HTLCs.
    pub unsettled_local: u64,
    /// In outgoing HTLCs.
    pub unsettled_remote: u64,
    pub opening_local: u64,
    pub opening_remote: u64,
}

impl TotalBalance {
    /// Returns the sums over these channels.
    pub fn of(channels: &[Channel]) -> Self {
        let mut total = Self::default();
        channels.iter().for_each(|channel| total.add(channel));
        total
    }

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
