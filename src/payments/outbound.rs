//! What payments need of the Lightning network.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::routing::router::Path;
use lightning_types::payment::PaymentHash;
use lightning_types::routing::RouteHint;

use super::flow::Open;
use crate::storage::payments::{FailureReason, PaymentTerms};

/// A question to the router.
pub struct RouteQuestion<'a> {
    pub destination: PublicKey,
    pub open: Open,
    pub terms: &'a PaymentTerms,
    pub route_hints: &'a [RouteHint],
    /// What the last hop's payload will carry: it takes room from the hops.
    pub onion: &'a RecipientOnionFields,
    /// What failed during this payment.
    pub failed_channels: &'a [FailedChannel],
}

/// A channel that could not carry a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedChannel {
    /// Short channel id.
    pub scid: u64,
    /// It carries no part of this size (msat) or larger; a smaller one may pass. 0: none at all.
    pub from_msat: u64,
    /// Whoever reported it expects it to work again.
    pub is_temporary: bool,
}

/// The channels, the router, and the way out.
pub trait Outbound: Send + Sync {
    /// Paths that together deliver the open amount.
    ///
    /// # Errors
    /// The reason why there are none, as the payment's failure.
    fn find_paths(&self, question: &RouteQuestion<'_>) -> Result<Vec<Path>, FailureReason>;

    /// Hands one HTLC to LDK. What becomes of it comes back as events.
    ///
    /// # Errors
    /// LDK's reason; then nothing was sent and no event comes.
    fn send(
        &self,
        path: Path,
        hash: PaymentHash,
        onion: RecipientOnionFields,
        id: PaymentId,
    ) -> Result<(), String>;

    /// The peer of a usable channel of ours, by one of the channel's short ids.
    fn usable_peer(&self, scid: u64) -> Option<PublicKey>;

    /// The payment ids that LDK still knows.
    fn known(&self) -> Vec<PaymentId>;

    fn our_node_id(&self) -> PublicKey;

    fn height(&self) -> u32;

    fn random_bytes(&self) -> [u8; 32];
}
