//! Outbound HTLCs: the channel manager and the router as seen by the payments module.

use std::ops::Deref;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::{
    AChannelManager, PaymentId, RecentPaymentDetails, RecipientOnionFields,
};
use lightning::routing::router::{Path, Route};
use lightning::sign::EntropySource;
use lightning_types::payment::PaymentHash;

use crate::channels::htlc_feed::HtlcFeed;
use crate::ldk::KeysManager;
use crate::model::payment::FailureReason;
use crate::payments::outbound_htlcs::{NoPaths, OutboundHtlcs, RouteQuestion};
use crate::routing::{NoRoute, OurChannels, RouteFinder};

/// A channel manager and a route finder for its channels. Generic, so that tests can use it with the
/// managers of LDK's functional test framework.
pub struct ManagerOutboundHtlcs<M: Deref> {
    manager: M,
    finder: RouteFinder,
    keys: Arc<KeysManager>,
    our_node_id: PublicKey,
    htlcs: HtlcFeed,
}

impl<M: Deref> ManagerOutboundHtlcs<M> {
    /// Creates the adapter, without a feed for sent HTLCs.
    pub fn new(
        manager: M,
        finder: RouteFinder,
        keys: Arc<KeysManager>,
        our_node_id: PublicKey,
    ) -> Self {
        Self {
            manager,
            finder,
            keys,
            our_node_id,
            htlcs: HtlcFeed::default(),
        }
    }

    /// Publishes each HTLC that is sent to this feed.
    #[must_use]
    pub fn publishing_to(self, htlcs: HtlcFeed) -> Self {
        Self { htlcs, ..self }
    }
}

impl<M> OutboundHtlcs for ManagerOutboundHtlcs<M>
where
    M: Deref + Send + Sync,
    M::Target: AChannelManager,
{
    fn find_paths(&self, question: &RouteQuestion<'_>) -> Result<Vec<Path>, NoPaths> {
        let ours = OurChannels::of(&*self.manager);
        let found = self.finder.find_paths(&question.query(), &ours);
        found.map_err(|why| {
            let reason = match why {
                NoRoute::ChannelsFull => return NoPaths::ChannelsFull,
                NoRoute::InsufficientBalance { .. } => FailureReason::InsufficientBalance,
                NoRoute::FeeLimit { .. } | NoRoute::NoPath => FailureReason::NoRoute,
                NoRoute::PayloadTooLarge | NoRoute::ToSelf | NoRoute::NoAmount => {
                    FailureReason::Error
                }
            };
            tracing::info!(amount_msat = question.open.amount_msat, "no route: {why}");
            NoPaths::For(reason)
        })
    }

    fn send(
        &self,
        path: Path,
        hash: PaymentHash,
        onion: RecipientOnionFields,
        id: PaymentId,
    ) -> Result<(), String> {
        let outgoing = path.hops.first().map(|hop| hop.short_channel_id);
        let amount_msat = path.final_value_msat().saturating_add(path.fee_msat());
        let manager = self.manager.get_cm();
        // LDK counts CLTV deltas from the next block.
        let next_height = manager.current_best_block().height.saturating_add(1);
        let deltas = path.hops.iter().map(|hop| hop.cltv_expiry_delta);
        let expiry_height = deltas.fold(next_height, u32::saturating_add);
        let route = Route {
            paths: vec![path],
            route_params: None,
        };
        manager
            .send_payment_with_route(route, hash, onion, id)
            .map_err(|error| format!("{error:?}"))?;
        self.htlcs.sent(outgoing, amount_msat, expiry_height);
        Ok(())
    }

    fn usable_peer(&self, scid: u64) -> Option<PublicKey> {
        let channels = self.manager.get_cm().list_usable_channels().into_iter();
        let named = |channel: &ChannelDetails| {
            [channel.short_channel_id, channel.outbound_scid_alias].contains(&Some(scid))
        };
        channels
            .filter(named)
            .map(|channel| channel.counterparty.node_id)
            .next()
    }

    fn known(&self) -> Vec<PaymentId> {
        let id = |payment| match payment {
            RecentPaymentDetails::AwaitingInvoice { payment_id }
            | RecentPaymentDetails::Pending { payment_id, .. }
            | RecentPaymentDetails::Fulfilled { payment_id, .. }
            | RecentPaymentDetails::Abandoned { payment_id, .. } => payment_id,
        };
        self.manager
            .get_cm()
            .list_recent_payments()
            .into_iter()
            .map(id)
            .collect()
    }

    fn our_node_id(&self) -> PublicKey {
        self.our_node_id
    }

    fn height(&self) -> u32 {
        self.manager.get_cm().current_best_block().height
    }

    fn random_bytes(&self) -> [u8; 32] {
        self.keys.get_secure_random_bytes()
    }
}
