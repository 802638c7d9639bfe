//! How much stays in the wallet for the fees of forced closes.
//!
//! The commitment of a channel with anchors pays a low fee, agreed on long before; its HTLC transactions
//! pay none. What they lack when they are needed comes from the wallet.

use bitcoin::{Amount, FeeRate};
use lightning::util::anchor_channel_reserves::{
    AnchorChannelReserveContext, get_reserve_per_channel,
};

/// HTLCs in each direction that are to be claimed when a channel is closed by force. LDK's authors saw less
/// than one on average on the channels of a large node.
const EXPECTED_HTLCS: u16 = 1;

/// What fees are expected to rise to: twice the estimate for the next six blocks.
const RISE: u32 = 2;

/// Bounds of that in sat per 1000 weight units: 10 sat/vB, since quiet times end; and 50 sat/vB, which 99 of
/// 100 blocks since 2019 stayed below (LDK's figure).
const LEAST_RATE: u32 = 2_500;
const HIGHEST_RATE: u32 = 12_500;

/// Channels beyond this number need no further reserve (as with lnd): not all are closed by force at once.
const MAX_RESERVED_CHANNELS: u64 = 10;

/// The reserve of one channel with anchors. `urgent` is the estimate for six blocks, sat per 1000 weight
/// units. From 10,873 to 54,363 sat.
pub fn reserve_per_channel(urgent: u32) -> Amount {
    let rate = urgent.saturating_mul(RISE).clamp(LEAST_RATE, HIGHEST_RATE);
    get_reserve_per_channel(&AnchorChannelReserveContext {
        upper_bound_fee_rate: FeeRate::from_sat_per_kwu(rate.into()),
        expected_accepted_htlcs: EXPECTED_HTLCS,
        taproot_wallet: false,
    })
}

/// The reserve of so many channels with anchors, at most that of ten.
pub fn anchor_reserve(channels: usize, urgent: u32) -> Amount {
    let channels = u64::try_from(channels)
        .unwrap_or(u64::MAX)
        .min(MAX_RESERVED_CHANNELS);
    reserve_per_channel(urgent)
        .checked_mul(channels)
        .unwrap_or(Amount::MAX_MONEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_follows_the_fees_within_bounds() {
        let sat = |urgent| reserve_per_channel(urgent).to_sat();
        assert_eq!([0, 253, 1_250].map(sat), [10_873; 3]);
        assert_eq!(sat(3_000), 26_094);
        assert_eq!([6_250, u32::MAX].map(sat), [54_363; 2]);
    }

    #[test]
    fn ten_channels_are_the_most_that_count() {
        let sat = |channels| anchor_reserve(channels, 0).to_sat();
        assert_eq!([0, 1, 10].map(sat), [0, 10_873, 108_730]);
        assert_eq!(sat(usize::MAX), 108_730);
    }
}
