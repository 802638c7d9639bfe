//! The anchor reserve: the amount that the wallet keeps for the fees of force closes.
//!
//! The commitment of an anchor channel pays a low fee that was negotiated long before, and its HTLC
//! transactions pay none. The wallet pays the rest when they are broadcast.

use bitcoin::{Amount, FeeRate};
use lightning::util::anchor_channel_reserves::{
    AnchorChannelReserveContext, get_reserve_per_channel,
};

/// Expected number of HTLCs per direction to be claimed in a force close. According to LDK's documentation, a
/// large node had less than one on average.
const EXPECTED_HTLCS: u16 = 1;

/// Expected rise of the fee rate, as a multiple of the estimate for the next six blocks.
const EXPECTED_RISE: u32 = 2;

/// Bounds of the resulting rate, in sat per 1000 weight units: 10 sat/vB, because low fees do not last, and
/// 50 sat/vB, above the fee rate of 99% of blocks since 2019 (LDK's figure).
const MIN_RATE: u32 = 2_500;
const MAX_RATE: u32 = 12_500;

/// Number of channels beyond which the reserve does not grow (as in lnd), because not all channels are
/// force-closed at the same time.
const MAX_RESERVED_CHANNELS: u64 = 10;

/// The reserve for one anchor channel, from 10,873 to 54,363 sat. `urgent` is the fee estimate for six
/// blocks, in sat per 1000 weight units.
pub fn reserve_per_channel(urgent: u32) -> Amount {
    let rate = urgent
        .saturating_mul(EXPECTED_RISE)
        .clamp(MIN_RATE, MAX_RATE);
    get_reserve_per_channel(&AnchorChannelReserveContext {
        upper_bound_fee_rate: FeeRate::from_sat_per_kwu(rate.into()),
        expected_accepted_htlcs: EXPECTED_HTLCS,
        taproot_wallet: false,
    })
}

/// The reserve for this number of anchor channels, at most that for ten. `urgent` as in
/// [`reserve_per_channel`].
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
    fn reserve_follows_the_fee_rate_within_bounds() {
        let sat = |urgent| reserve_per_channel(urgent).to_sat();
        assert_eq!([0, 253, 1_250].map(sat), [10_873; 3]);
        assert_eq!(sat(3_000), 26_094);
        assert_eq!([6_250, u32::MAX].map(sat), [54_363; 2]);
    }

    #[test]
    fn reserve_counts_at_most_ten_channels() {
        let sat = |channels| anchor_reserve(channels, 0).to_sat();
        assert_eq!([0, 1, 10].map(sat), [0, 10_873, 108_730]);
        assert_eq!(sat(usize::MAX), 108_730);
    }
}
