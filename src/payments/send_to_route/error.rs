//! Errors of attempts over a given route. Texts are lnd's wherever lnd has the same case.

use bitcoin::secp256k1::PublicKey;

use super::RouteError;
use crate::payments::SendError;
use crate::storage::StorageError;
use ldk_amp::RecipientError;

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
