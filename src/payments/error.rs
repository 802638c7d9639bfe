//! Errors of starting payments, sending over given routes, and deleting payments. Texts are lnd's
//! wherever lnd has the same case.

use bitcoin::secp256k1::PublicKey;

use super::given_route::RouteError;
use crate::storage::StorageError;
use ldk_amp::RecipientError;

/// A payment that was rejected before anything was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A payment with this identifier is in flight.
    #[error("payment is in transition")]
    InFlight,
    /// The invoice has already been paid.
    #[error("invoice is already paid")]
    AlreadyPaid,
    /// The amount is zero.
    #[error("amount must be specified")]
    NoAmount,
    /// The destination is this node, and the request does not allow self-payments.
    #[error("self-payments not allowed")]
    SelfPayment,
    /// The destination is this node, and the request allows self-payments.
    #[error("self-payments are not supported: the router cannot build a circular route")]
    SelfPaymentUnsupported,
    /// The invoice has expired.
    #[error("invoice expired. Valid until {0} (seconds since 1970)")]
    Expired(u64),
    /// Types below 65536 are reserved for the protocol.
    #[error("custom record type {0} is reserved; use types from 65536")]
    CustomRecord(u64),
    /// The limit excludes every route.
    #[error("cltv limit {limit} should be greater than {least}")]
    CltvLimit { limit: u32, least: u32 },
    /// The limit is above the maximum.
    #[error("total time lock of {limit} exceeds max allowed {most}")]
    CltvLimitTooHigh { limit: u32, most: u32 },
    /// The amount exceeds the sum of all parts.
    #[error(
        "payment amount {amount_msat} mSAT exceeds maximum possible amount of {max_parts} parts of \
         at most {max_shard_msat} mSAT"
    )]
    ShardsTooSmall {
        amount_msat: u64,
        max_parts: u32,
        max_shard_msat: u64,
    },
    /// The database cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Commits fail, so a payment could be sent and then forgotten.
    #[error("cannot start payments while the database is not writable ({0})")]
    NotWriting(String),
}

/// An attempt that was rejected before anything was sent or stored.
#[derive(Debug, thiserror::Error)]
pub enum SendToRouteError {
    #[error(transparent)]
    Route(#[from] RouteError),
    /// As for every payment: already paid, in flight by other means, or the database is not
    /// writable.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The records for the receiver cannot be encoded.
    #[error(transparent)]
    Records(#[from] RecipientError),
    #[error("cannot send AMP without MPP record")]
    AmpWithoutMpp,
    #[error("channel {scid} is not a usable channel of this node with {node}")]
    NotOurChannel { scid: u64, node: PublicKey },
    /// Together with attempts in flight or settled, it would exceed the payment's total.
    #[error("attempted value exceeds payment amount")]
    MoreThanTotal,
    /// All attempts of a payment must have the same total.
    #[error("mp payment total amount mismatch")]
    OtherTotal,
    /// All attempts of a payment must have the same payment address.
    #[error("payment address mismatch")]
    OtherAddress,
    /// Attempts with and without MPP record cannot be mixed.
    #[error("payment has MPP attempts")]
    HasParts,
    #[error("payment has non-MPP attempts")]
    IsWhole,
    /// An earlier failure already decided that the payment fails.
    #[error("payment has failure reason")]
    IsFailing,
    /// Cannot happen: the sender of updates lives as long as the one who waits for them.
    #[error("no further updates for payment {0}")]
    Unfollowed(String),
}

impl From<StorageError> for SendToRouteError {
    fn from(error: StorageError) -> Self {
        SendError::from(error).into()
    }
}

/// A payment that was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// No payment has this identifier.
    #[error("payment isn't initiated")]
    Unknown,
    /// The payment may still succeed. Contains its identifier in hex.
    #[error(
        "payment '{0}' has inflight HTLCs and therefore cannot be deleted: payment is in transition"
    )]
    InFlight(String),
    /// The database cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Commits fail.
    #[error("cannot delete payments while the database is not writable ({0})")]
    NotWriting(String),
    /// Some payments may have been deleted already.
    #[error("the node is shutting down")]
    Stopping,
}
