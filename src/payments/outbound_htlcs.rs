//! What payments need from the channel manager and the router.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::routing::router::Path;
use lightning_types::payment::PaymentHash;
use lightning_types::routing::RouteHint;

use super::lifecycle::Open;
use crate::storage::payments::{FailureReason, PaymentTerms};

/// A route search.
pub struct RouteQuestion<'a> {
    pub destination: PublicKey,
    pub open: Open,
    pub terms: &'a PaymentTerms,
    pub route_hints: &'a [RouteHint],
    /// The last hop's payload, which takes space from the other hops.
    pub onion: &'a RecipientOnionFields,
    /// The channels that failed during this payment.
    pub failed_channels: &'a [FailedChannel],
}

/// A channel that could not carry a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedChannel {
    /// Short channel id.
    pub scid: u64,
    /// It carries no part of this size (msat) or larger; smaller ones may pass. 0: none at all.
    pub from_msat: u64,
    /// The node that reported the failure expects the channel to work again.
    pub is_temporary: bool,
}

/// Operations of the channel manager and the router on outgoing HTLCs.
pub trait OutboundHtlcs: Send + Sync {
    /// Finds paths that together deliver the open amount.
    ///
    /// # Errors
    /// Why there are none, as the payment's failure reason.
    fn find_paths(&self, question: &RouteQuestion<'_>) -> Result<Vec<Path>, FailureReason>;

    /// Passes one HTLC to LDK. Its result arrives as events.
    ///
    /// # Errors
    /// LDK's reason; nothing was sent, and no event follows.
    fn send(
        &self,
        path: Path,
        hash: PaymentHash,
        onion: RecipientOnionFields,
        id: PaymentId,
    ) -> Result<(), String>;

    /// The peer of a usable channel of ours, by the channel's SCID or one of its aliases.
    fn usable_peer(&self, scid: u64) -> Option<PublicKey>;

    /// The payment ids that LDK still knows.
    fn known(&self) -> Vec<PaymentId>;

    fn our_node_id(&self) -> PublicKey;

    fn height(&self) -> u32;

    fn random_bytes(&self) -> [u8; 32];
}
