//! The terms on which a channel forwards payments.

use lightning::ln::channel_state::ChannelDetails;

/// The share of a channel's capacity, in tenths, that LDK allows for one HTLC.
const OFFERED_TENTHS: u64 = 9;

/// The terms on which one side of a channel forwards payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardingTerms {
    pub base_fee_msat: u32,
    /// The proportional fee, in millionths.
    pub fee_rate_ppm: u32,
    pub cltv_delta_blocks: u16,
    pub min_htlc_msat: u64,
    pub max_htlc_msat: u64,
}

impl ForwardingTerms {
    /// Returns our terms, as LDK sends them to the peer or announces them.
    pub fn ours(details: &ChannelDetails) -> Self {
        let config = details.config.unwrap_or_default();
        let peer = &details.counterparty;
        let offered_msat =
            details.channel_value_satoshis.saturating_mul(1000) / 10 * OFFERED_TENTHS;
        Self {
            base_fee_msat: config.forwarding_fee_base_msat,
            fee_rate_ppm: config.forwarding_fee_proportional_millionths,
            cltv_delta_blocks: config.cltv_expiry_delta,
            min_htlc_msat: peer.outbound_htlc_minimum_msat.unwrap_or(0),
            max_htlc_msat: peer
                .outbound_htlc_maximum_msat
                .map_or(offered_msat, |most| most.min(offered_msat)),
        }
    }

    /// Returns the peer's terms, or `None` until the peer has sent them.
    pub fn of_peer(details: &ChannelDetails) -> Option<Self> {
        let told = details.counterparty.forwarding_info.as_ref()?;
        let all_msat = details.channel_value_satoshis.saturating_mul(1000);
        Some(Self {
            base_fee_msat: told.fee_base_msat,
            fee_rate_ppm: told.fee_proportional_millionths,
            cltv_delta_blocks: told.cltv_expiry_delta,
            min_htlc_msat: details.inbound_htlc_minimum_msat.unwrap_or(0),
            max_htlc_msat: details.inbound_htlc_maximum_msat.unwrap_or(all_msat),
        })
    }
}
