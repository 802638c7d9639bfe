//! What payments need from the channel manager and the router.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::routing::router::Path;
use lightning_types::payment::PaymentHash;
use lightning_types::routing::RouteHint;

use super::lifecycle::Open;
use crate::model::payment::{FailureReason, PaymentTerms};
use crate::routing::payment_paths::{FailedChannel, PathsQuery};
use crate::routing::query::RouteQuery;

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

impl RouteQuestion<'_> {
    /// The question as the route finder takes it.
    pub fn query(&self) -> PathsQuery<'_> {
        let terms = self.terms;
        let route = RouteQuery {
            final_cltv_delta: terms.final_cltv_delta,
            cltv_limit: (terms.cltv_limit > 0).then_some(terms.cltv_limit),
            outgoing_channels: terms.outgoing_channels.clone(),
            last_hop: terms.last_hop,
            route_hints: self.route_hints.to_vec(),
            ..RouteQuery::new(
                self.destination,
                self.open.amount_msat,
                self.open.fee_limit_msat,
            )
        };
        PathsQuery {
            route,
            parts: self.open.parts,
            max_part_msat: terms.max_shard_msat,
            onion: self.onion,
            failed_channels: self.failed_channels,
        }
    }
}

/// Why a search found no paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPaths {
    /// Our channels carry as many HTLCs as they may: there may be paths once one of them has ended.
    ChannelsFull,
    /// The payment fails for this reason, unless there may be paths later.
    For(FailureReason),
}

impl From<NoPaths> for FailureReason {
    fn from(why: NoPaths) -> Self {
        match why {
            NoPaths::ChannelsFull => Self::NoRoute,
            NoPaths::For(reason) => reason,
        }
    }
}

/// Operations of the channel manager and the router on outgoing HTLCs.
pub trait OutboundHtlcs: Send + Sync {
    /// Finds paths that together deliver the open amount.
    ///
    /// # Errors
    /// Why there are none.
    fn find_paths(&self, question: &RouteQuestion<'_>) -> Result<Vec<Path>, NoPaths>;

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
