//! What a caller can ask for, and what may come in its way.

use bitcoin::secp256k1::PublicKey;

use crate::channels::config::{MAX_CHANNEL_SAT, MIN_CHANNEL_SAT};
use crate::channels::id::NoRandomness;

/// How much the funding transaction pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FundingFee {
    /// Exactly this many sat per virtual byte.
    SatPerVbyte(u64),
    /// Whatever confirms within about this many blocks.
    ConfirmIn(u32),
}

/// What the caller of [`Opener::open`](super::Opener::open) wants.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    pub peer: PublicKey,
    /// Size of the channel in sat.
    pub capacity_sat: u64,
    /// Given to the peer from the start, sat. A gift: there is no invoice for it.
    pub push_sat: u64,
    pub private: bool,
    /// Of the type that never shows where it is in the chain; for private channels only.
    pub scid_alias: bool,
    pub fee: FundingFee,
    /// The smallest HTLC that we take on this channel, msat; none for our default.
    pub min_htlc_msat: Option<u64>,
    /// Blocks that the peer waits after its own force close; none for our default.
    pub remote_csv_delay: Option<u16>,
    /// Fixed fee of a forward in msat; none for our default.
    pub base_fee_msat: Option<u32>,
    /// Proportional fee of a forward in millionths; none for our default.
    pub fee_rate_ppm: Option<u32>,
}

/// Why no channel was opened. The texts that clients of lnd look for are lnd's.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open channel to self")]
    ToSelf,
    #[error("channel is too small, the minimum channel size is: {MIN_CHANNEL_SAT} SAT")]
    TooSmall,
    #[error("funding amount is too large, the max channel size is: {MAX_CHANNEL_SAT} SAT")]
    TooLarge,
    #[error(
        "amount pushed to remote peer for initial state must be below the local funding amount"
    )]
    PushTooLarge,
    #[error("peer {0} is not online")]
    NotOnline(PublicKey),
    /// BOLT 2 has no such channels; lnd's text.
    #[error("option-scid-alias chantype for public channel")]
    PublicAlias,
    #[error("peer {0} does not support scid_alias: omit this option")]
    NoAlias(PublicKey),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("cannot open the channel: {0}")]
    Refused(String),
    /// The wallet's own words.
    #[error("{0}")]
    Wallet(String),
    /// bitcoind's own words.
    #[error("the funding transaction could not be broadcast, so the channel was not opened: {0}")]
    NotAccepted(String),
    #[error("the channel was closed before it was funded: {0}")]
    Closed(String),
    #[error("the node is shutting down")]
    Stopping,
}
