//! A peer's request to open a channel with us.

use bitcoin::secp256k1::PublicKey;
use lightning::events::InboundChannelFunds;
use lightning::ln::msgs::ChannelParameters;
use lightning::ln::types::ChannelId;
use lightning::types::features::ChannelTypeFeatures;

/// A peer's request to open a channel, from LDK's `OpenChannelRequest` event.
#[derive(Debug, Clone)]
pub struct Request {
    pub temporary_channel_id: ChannelId,
    pub counterparty_node_id: PublicKey,
    pub funding_satoshis: u64,
    pub channel_negotiation_type: InboundChannelFunds,
    pub channel_type: ChannelTypeFeatures,
    pub is_announced: bool,
    /// The channel parameters that the peer proposes.
    pub params: ChannelParameters,
}
