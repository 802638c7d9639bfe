//! LDK's channel settings for a routing node, with the reason for each.
//!
//! LDK's defaults suit a mobile wallet: few HTLCs, a tenth of the channel in flight, no anchors, no
//! forwarding. The values here differ from them on purpose.

use lightning::util::config::{MaxDustHTLCExposure, UserConfig};

/// The delay, in blocks, for a peer's funds after it force-closes. LDK's default, and close to
/// lnd's for small channels: one day for us to detect and punish a revoked state.
pub const REMOTE_CSV_DELAY_BLOCKS: u16 = 144;

/// The number of HTLCs that a peer may have in flight to us: the maximum allowed by BOLT 2.
pub const MAX_ACCEPTED_HTLCS: u16 = 483;

/// The smallest HTLC that we accept, in msat.
pub const MIN_HTLC_MSAT: u64 = 1;

/// The reserve that a peer keeps on its side, in millionths of the capacity (1 %, as lnd).
const RESERVE_PPM: u32 = 10_000;

/// The largest channel in sat, opened by us or a peer: 10 BTC, lnd's limit with `wumbo-channels`.
pub const MAX_CHANNEL_SAT: u64 = 1_000_000_000;

/// The smallest channel, in sat, that lnd opens or accepts by default.
pub const MIN_CHANNEL_SAT: u64 = 20_000;

/// The number of confirmations before a channel funded by a peer can be used (as lnd). Large
/// channels need more (`depth`).
pub const MIN_DEPTH_BLOCKS: u32 = 3;

/// The smallest `cltv-expiry-delta`, in blocks, that LDK accepts for forwards.
pub const MIN_CLTV_DELTA_BLOCKS: u16 = 48;

/// The default limit of dust exposure in one channel, in sat.
///
/// An HTLC below the dust limit (354 sat) has no output of its own: in a force close its amount
/// goes to miners, and two colluding peers can make us lose it at no cost to them. A full channel
/// of 483 such HTLCs holds 170,982 sat, so lnd's 500,000 sat has no effect. LDK's default depends
/// on the fee rate and allows 2,530 sat at 1 sat/vB: seven small AMP shards would exhaust it. This
/// limit allows 141 of the largest dust HTLCs, and any payment of up to 50,000 sat however it is
/// split.
const MAX_DUST_SAT: u64 = 50_000;

/// The amount in sat above our own estimate that we pay for the cooperative close of a channel that
/// we opened, if the user set no fee and the peer names a higher fee without a range.
///
/// Only lnd names such a fee; other peers never see this limit (`onion::closing_fees`). LDK's
/// default of 1,000 sat is low: two reasonable estimates for these 168 vB often differ by more.
pub const MOST_ABOVE_OUR_CLOSING_FEE_SAT: u64 = 10_000;

/// The channel settings of the config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSettings {
    /// The base fee for forwards, in msat (lnd: 1000).
    pub base_fee_msat: u32,
    /// The proportional fee for forwards, in millionths (lnd: 1).
    pub fee_rate_ppm: u32,
    /// The difference in blocks between the expiries of a forward's incoming and outgoing HTLC
    /// (lnd: 80).
    pub cltv_delta_blocks: u16,
    /// [`MIN_DEPTH_BLOCKS`], or less in tests.
    pub min_depth_blocks: u32,
    /// The smallest channel, in sat, that a peer may open to us.
    pub min_channel_sat: u64,
    /// The maximum amount, in sat, of HTLCs below the dust limit in one channel.
    pub max_dust_exposure_sat: u64,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            base_fee_msat: 1000,
            fee_rate_ppm: 1,
            cltv_delta_blocks: 80,
            min_depth_blocks: MIN_DEPTH_BLOCKS,
            min_channel_sat: MIN_CHANNEL_SAT,
            max_dust_exposure_sat: MAX_DUST_SAT,
        }
    }
}

/// An invalid setting, and how to correct it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// LDK refuses forwards with a smaller delta, so the channel would forward nothing.
    #[error("CLTV delta of {0} blocks is too small: use at least {MIN_CLTV_DELTA_BLOCKS}")]
    CltvDelta(u16),
    /// The funder could double-spend an unconfirmed channel.
    #[error("minimum depth of 0 confirmations is not safe: use at least 1")]
    MinDepth,
    /// No channel could satisfy both limits.
    #[error("minimum channel size of {0} sat exceeds the maximum of {MAX_CHANNEL_SAT} sat")]
    MinChannel(u64),
}

/// Returns LDK's configuration for this node.
pub fn user_config(settings: &ChannelSettings) -> Result<UserConfig, SettingsError> {
    check(settings)?;
    let mut config = UserConfig::default();
    handshake(&mut config, settings);
    limits(&mut config, settings);
    channel(&mut config, settings);
    // `inbound` checks each request: capacity, number of channels, on-chain reserve.
    config.manually_accept_inbound_channels = true;
    // Our unannounced channels also forward payments, as in lnd.
    config.accept_forwards_to_priv_channels = true;
    Ok(config)
}

fn check(settings: &ChannelSettings) -> Result<(), SettingsError> {
    if settings.cltv_delta_blocks < MIN_CLTV_DELTA_BLOCKS {
        return Err(SettingsError::CltvDelta(settings.cltv_delta_blocks));
    }
    if settings.min_depth_blocks == 0 {
        return Err(SettingsError::MinDepth);
    }
    if settings.min_channel_sat > MAX_CHANNEL_SAT {
        return Err(SettingsError::MinChannel(settings.min_channel_sat));
    }
    Ok(())
}

/// Sets the parameters that we ask of peers when a channel is opened.
fn handshake(config: &mut UserConfig, settings: &ChannelSettings) {
    let handshake = &mut config.channel_handshake_config;
    // An AMP or MPP payment consists of many HTLCs; a busy node soon reaches LDK's default of 50.
    handshake.our_max_accepted_htlcs = MAX_ACCEPTED_HTLCS;
    // LDK's default of 10 % would refuse amounts that the channel's balance can carry.
    handshake.max_inbound_htlc_value_in_flight_percent_of_channel = 100;
    // A force close pays its fee with a child transaction when it is broadcast, instead of a fee
    // guessed when the channel is opened. This requires an on-chain reserve.
    handshake.negotiate_anchors_zero_fee_htlc_tx = true;
    // Public unless the request says otherwise, as lnd's `openchannel`.
    handshake.announce_for_forwarding = true;
    // A committed script cannot be changed at the close, so a delivery address would be refused.
    handshake.commit_upfront_shutdown_pubkey = false;
    handshake.minimum_depth = settings.min_depth_blocks;
    handshake.our_to_self_delay = REMOTE_CSV_DELAY_BLOCKS;
    handshake.our_htlc_minimum_msat = MIN_HTLC_MSAT;
    handshake.their_channel_reserve_proportional_millionths = RESERVE_PPM;
}

/// Sets the limits for what peers propose.
fn limits(config: &mut UserConfig, settings: &ChannelSettings) {
    let limits = &mut config.channel_handshake_limits;
    // LDK's default of true refuses every private channel, as our own default is to announce.
    limits.force_announced_channel_preference = false;
    limits.min_funding_satoshis = settings.min_channel_sat;
    limits.max_funding_satoshis = MAX_CHANNEL_SAT;
}

/// Sets the forwarding policy, the dust limit, and the limit of closing fees.
fn channel(config: &mut UserConfig, settings: &ChannelSettings) {
    let channel = &mut config.channel_config;
    channel.forwarding_fee_base_msat = settings.base_fee_msat;
    channel.forwarding_fee_proportional_millionths = settings.fee_rate_ppm;
    channel.cltv_expiry_delta = settings.cltv_delta_blocks;
    let dust_msat = settings.max_dust_exposure_sat.saturating_mul(1_000);
    channel.max_dust_htlc_exposure = MaxDustHTLCExposure::FixedLimitMsat(dust_msat);
    channel.force_close_avoidance_max_fee_satoshis = MOST_ABOVE_OUR_CLOSING_FEE_SAT;
}

#[cfg(test)]
mod tests {
    use lightning::chain::chaininterface::{ConfirmationTarget, FeeEstimator};

    use super::*;
    use crate::chain::FeeEstimates;

    #[test]
    fn settings_are_passed_to_ldk() {
        let settings = ChannelSettings {
            base_fee_msat: 7,
            fee_rate_ppm: 11,
            cltv_delta_blocks: 99,
            min_depth_blocks: 2,
            min_channel_sat: 50_000,
            max_dust_exposure_sat: 1_234,
        };
        let config = user_config(&settings).unwrap();
        assert_eq!(config.channel_config.forwarding_fee_base_msat, 7);
        assert_eq!(
            config.channel_config.forwarding_fee_proportional_millionths,
            11
        );
        assert_eq!(config.channel_config.cltv_expiry_delta, 99);
        assert_eq!(config.channel_handshake_config.minimum_depth, 2);
        assert_eq!(config.channel_handshake_limits.min_funding_satoshis, 50_000);
        assert!(matches!(
            config.channel_config.max_dust_htlc_exposure,
            MaxDustHTLCExposure::FixedLimitMsat(1_234_000)
        ));
    }

    #[test]
    fn rejects_invalid_settings() {
        let refused = |change: fn(&mut ChannelSettings)| {
            let mut settings = ChannelSettings::default();
            change(&mut settings);
            user_config(&settings).unwrap_err()
        };
        assert_eq!(
            refused(|s| s.cltv_delta_blocks = 47),
            SettingsError::CltvDelta(47)
        );
        assert_eq!(refused(|s| s.min_depth_blocks = 0), SettingsError::MinDepth);
        let huge = MAX_CHANNEL_SAT + 1;
        assert_eq!(
            refused(|s| s.min_channel_sat = MAX_CHANNEL_SAT + 1),
            SettingsError::MinChannel(huge)
        );
    }

    #[test]
    fn accepts_closing_fees_of_peers_without_estimates() {
        // lnd asks for 25 sat/vB when its bitcoind has no estimate.
        const PEER_SAT_PER_KW: u64 = 6_250;
        const CLOSING_WEIGHT: u64 = 672;
        let config = user_config(&ChannelSettings::default()).unwrap();
        let ours = FeeEstimates::default()
            .get_est_sat_per_1000_weight(ConfirmationTarget::NonAnchorChannelFee);
        let most_sat = u64::from(ours) * CLOSING_WEIGHT / 1_000
            + config.channel_config.force_close_avoidance_max_fee_satoshis;
        assert!(PEER_SAT_PER_KW * CLOSING_WEIGHT / 1_000 <= most_sat);
    }
}
