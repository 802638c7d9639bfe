//! Why an attempt over a caller's route is not made. The texts are lnd's where lnd has the case.

use bitcoin::secp256k1::PublicKey;

use super::RouteError;
use ldk_amp::RecipientError;
use crate::payments::SendError;
use crate::storage::StorageError;

/// An attempt that was refused before anything was sent or stored.
#[derive(Debug, thiserror::Error)]
pub enum ByRouteError {
    #[error(transparent)]
    Route(#[from] RouteError),
    /// As for every payment: it is paid, under way by other means, or nothing can be written.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The records for the receiver.
    #[error(transparent)]
    Records(#[from] RecipientError),
    #[error("cannot send AMP without MPP record")]
    AmpWithoutMpp,
    #[error("channel {scid} is not a usable channel of this node with {node}")]
    NotOurChannel { scid: u64, node: PublicKey },
    /// With what is in flight or settled it would be more than the payment's total.
    #[error("attempted value exceeds payment amount")]
    MoreThanTotal,
    /// Attempts of one payment name one total,
    #[error("mp payment total amount mismatch")]
    OtherTotal,
    /// one payment address,
    #[error("payment address mismatch")]
    OtherAddress,
    /// and all or none of them are parts.
    #[error("payment has MPP attempts")]
    HasParts,
    #[error("payment has non-MPP attempts")]
    IsWhole,
    /// An earlier attempt has decided that the payment fails.
    #[error("payment has failure reason")]
    IsFailing,
    /// Cannot happen: the one who tells the end lives as long as the one who waits for it.
    #[error("payment {0} is no longer followed")]
    Unfollowed(String),
}

impl From<StorageError> for ByRouteError {
    fn from(error: StorageError) -> Self {
        SendError::from(error).into()
    }
}
