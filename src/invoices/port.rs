//! What the registry needs of the channels.

use std::collections::BTreeMap;

use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use ldk_amp::HtlcKey;
use ldk_amp::Envelope;

/// The channel manager, as far as receiving goes.
pub trait ChannelPort: Send + Sync {
    /// `claim_funds_with_known_custom_tlvs`: does nothing if LDK has claimed it, or never had it.
    fn claim(&self, preimage: PaymentPreimage);

    /// Fails what is held for this hash with `incorrect_or_unknown_payment_details`.
    fn fail(&self, hash: &PaymentHash);

    /// Fails the shard with `mpp_timeout`.
    fn fail_timed_out(&self, hash: &PaymentHash, envelope: &Envelope);

    /// Current block height.
    fn height(&self) -> u32;

    /// The incoming HTLCs that LDK has right now for this hash and has not yet answered.
    fn incoming(&self, hash: &PaymentHash) -> Vec<IncomingHtlc>;

    /// Those among them that are on these channels; cheaper on a node with many.
    fn incoming_on(&self, channels: &[ChannelId], hash: &PaymentHash) -> Vec<IncomingHtlc>;

    /// Lets LDK look at the HTLCs that came in and that it did not look at yet: only then can they be
    /// claimed.
    fn process_pending(&self);

    /// All incoming HTLCs that LDK has right now and has not yet answered.
    fn all_incoming(&self) -> Vec<HtlcKey>;

    /// The channel as callers know it; 0 if it is gone.
    fn scid(&self, channel: &ChannelId) -> u64;
}

/// An incoming HTLC as the channel shows it.
#[derive(Debug, Clone, Copy)]
pub struct IncomingHtlc {
    pub key: HtlcKey,
    pub amount_msat: u64,
    pub cltv_expiry: u32,
}

/// LDK holds a whole payment (in its sense) and asks what to do with it.
#[derive(Debug, Clone)]
pub struct Claimable {
    pub payment_hash: PaymentHash,
    pub amount_msat: u64,
    /// Height at which LDK fails it by itself.
    pub claim_deadline: Option<u32>,
    /// The channels on which it came; of several parts, each.
    pub channels: Vec<ChannelId>,
    /// Records >= 65536 of the sender.
    pub custom_records: BTreeMap<u64, Vec<u8>>,
}
