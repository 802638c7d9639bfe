//! What the registry needs from the channel manager.

use std::collections::BTreeMap;

use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use ldk_amp::Envelope;
use ldk_amp::HtlcKey;

/// Operations of the channel manager on incoming HTLCs.
pub trait InboundHtlcs: Send + Sync {
    /// Claims a payment (`claim_funds_with_known_custom_tlvs`). No effect if LDK has already
    /// claimed the payment or does not know it.
    fn claim(&self, preimage: PaymentPreimage);

    /// Fails all claimable HTLCs with this hash with `incorrect_or_unknown_payment_details`.
    fn fail(&self, hash: &PaymentHash);

    /// Fails an AMP shard with `mpp_timeout`.
    fn fail_timed_out(&self, hash: &PaymentHash, envelope: &Envelope);

    /// The current block height.
    fn height(&self) -> u32;

    /// The incoming HTLCs with this hash that LDK currently has and has neither claimed nor failed.
    fn incoming(&self, hash: &PaymentHash) -> Vec<IncomingHtlc>;

    /// As [`InboundHtlcs::incoming`], restricted to these channels; cheaper on a node with many
    /// channels.
    fn incoming_on(&self, channels: &[ChannelId], hash: &PaymentHash) -> Vec<IncomingHtlc>;

    /// Processes LDK's pending HTLCs; an unprocessed HTLC cannot be claimed.
    fn process_pending(&self);

    /// All incoming HTLCs that LDK currently has and has neither claimed nor failed.
    fn all_incoming(&self) -> Vec<HtlcKey>;

    /// The short channel id as shown by the API; 0 if the channel is closed.
    fn scid(&self, channel: &ChannelId) -> u64;
}

/// An incoming HTLC as listed by its channel.
#[derive(Debug, Clone, Copy)]
pub struct IncomingHtlc {
    pub key: HtlcKey,
    pub amount_msat: u64,
    pub cltv_expiry: u32,
}

/// A payment that LDK reports as claimable (`Event::PaymentClaimable`): complete in LDK's view.
#[derive(Debug, Clone)]
pub struct Claimable {
    pub payment_hash: PaymentHash,
    pub amount_msat: u64,
    /// The height at which LDK fails the payment back.
    pub claim_deadline: Option<u32>,
    /// The channels on which its parts arrived.
    pub channels: Vec<ChannelId>,
    /// The sender's TLV records with types of 65536 and above.
    pub custom_records: BTreeMap<u64, Vec<u8>>,
}
