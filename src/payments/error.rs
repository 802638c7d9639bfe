//! Why a payment is not even started, or not deleted. The texts follow lnd's where lnd has the case.

use crate::storage::StorageError;

/// A payment that was refused before anything was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// One with this identifier is under way.
    #[error("payment is in transition")]
    InFlight,
    /// The invoice was paid before.
    #[error("invoice is already paid")]
    AlreadyPaid,
    /// An amount of zero.
    #[error("amount must be specified")]
    NoAmount,
    /// To ourselves, and the caller did not allow it.
    #[error("self-payments not allowed")]
    SelfPayment,
    /// To ourselves, and the caller allowed it.
    #[error("a payment to this node itself is not supported: the router finds no way around")]
    SelfPaymentUnsupported,
    /// Past its expiry.
    #[error("invoice expired. Valid until {0} (seconds since 1970)")]
    Expired(u64),
    /// Records below 65536 belong to the protocol.
    #[error("custom record {0} is below 65536; choose a higher type")]
    CustomRecord(u64),
    /// A limit that excludes every route.
    #[error("cltv limit {limit} should be greater than {least}")]
    CltvLimit { limit: u32, least: u32 },
    /// A limit above the largest that there is.
    #[error("total time lock of {limit} exceeds max allowed {most}")]
    CltvLimitTooHigh { limit: u32, most: u32 },
    /// All parts together cannot carry the amount.
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
    /// Commits fail: nothing is sent that might be forgotten.
    #[error("the node cannot write to its database ({0}); no payment is started until it can")]
    NotWriting(String),
}

/// A payment of the past that is not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// None has this identifier.
    #[error("payment isn't initiated")]
    Unknown,
    /// It may still succeed. With its identifier in hex.
    #[error(
        "payment '{0}' has inflight HTLCs and therefore cannot be deleted: payment is in transition"
    )]
    InFlight(String),
    /// The database cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Commits fail.
    #[error("the node cannot write to its database ({0}); nothing is deleted until it can")]
    NotWriting(String),
    /// Some may have been deleted.
    #[error("the node stops")]
    Stopping,
}
