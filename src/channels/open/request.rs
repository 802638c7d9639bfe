//! The parameters of a channel opening, and its errors.

use bitcoin::secp256k1::PublicKey;

use crate::channels::config::{MAX_CHANNEL_SAT, MIN_CHANNEL_SAT};
use crate::channels::user_channel_id::NoRandomness;

/// The fee of the funding transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FundingFee {
    /// Exactly this many sat per virtual byte.
    SatPerVbyte(u64),
    /// A fee rate estimated to confirm within this many blocks.
    ConfirmIn(u32),
}

/// The parameters of [`Opener::open`](super::Opener::open).
#[derive(Debug, Clone)]
pub struct OpenRequest {
    pub peer: PublicKey,
    /// The capacity of the channel, in sat.
    pub capacity_sat: u64,
    /// The amount, in sat, given to the peer at the start. It is a gift: no invoice is paid with
    /// it.
    pub push_sat: u64,
    pub private: bool,
    /// Whether to use the `scid_alias` channel type, which never reveals the funding output; for
    /// private channels only.
    pub scid_alias: bool,
    pub fee: FundingFee,
    /// The smallest HTLC that we accept on this channel, in msat; `None` for our default.
    pub min_htlc_msat: Option<u64>,
    /// The delay, in blocks, for the peer's funds after its own force close; `None` for our
    /// default.
    pub remote_csv_delay: Option<u16>,
    /// The base fee for forwards, in msat; `None` for our default.
    pub base_fee_msat: Option<u32>,
    /// The proportional fee for forwards, in millionths; `None` for our default.
    pub fee_rate_ppm: Option<u32>,
}

/// The reason why no channel was opened. Texts that lnd clients match on are lnd's.
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
    /// BOLT 2 does not allow such channels; lnd's text.
    #[error("option-scid-alias chantype for public channel")]
    PublicAlias,
    #[error("peer {0} does not support scid_alias: omit this option")]
    NoAlias(PublicKey),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("cannot open the channel: {0}")]
    Refused(String),
    /// The wallet's error text.
    #[error("{0}")]
    Wallet(String),
    /// bitcoind's error text.
    #[error("the funding transaction could not be broadcast, so the channel was not opened: {0}")]
    NotAccepted(String),
    #[error("the channel was closed before it was funded: {0}")]
    Closed(String),
    #[error("the node is shutting down")]
    Stopping,
}
