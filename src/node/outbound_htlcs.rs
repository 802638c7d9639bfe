//! Outbound HTLCs: the channel manager and the router as seen by the payments module.

use std::ops::Deref;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::{
    AChannelManager, PaymentId, RecentPaymentDetails, RecipientOnionFields,
};
use lightning::routing::router::{InFlightHtlcs, Path, Route};
use lightning::sign::EntropySource;
use lightning_types::payment::PaymentHash;

use crate::channels::htlc_feed::HtlcFeed;
use crate::ldk::KeysManager;
use crate::payments::outbound_htlcs::{OutboundHtlcs, RouteQuestion};
use crate::routing::finder::RouteFinder;
use crate::routing::query::{NoRoute, RouteQuery};
use crate::routing::split::{Whole, in_pieces, split};
use crate::storage::payments::FailureReason;

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

impl<M> ManagerOutboundHtlcs<M>
where
    M: Deref + Send + Sync,
    M::Target: AChannelManager,
{
    fn find(&self, question: &RouteQuestion<'_>) -> Result<Vec<Path>, NoRoute> {
        let manager = self.manager.get_cm();
        let channels = manager.list_usable_channels();
        let in_flight = manager.compute_inflight_htlcs();
        let height = manager.current_best_block().height;
        let whole = Whole {
            amount_msat: question.open.amount_msat,
            parts: question.open.parts,
            max_part_msat: question.terms.max_shard_msat,
        };
        let found = split(whole, |amount_msat, parts| {
            let query = query(question, amount_msat, parts);
            let parameters = query.parameters(question.onion, false, height)?;
            let route = self
                .finder
                .find(&query, &parameters, &channels, &in_flight)?;
            Ok(route.paths)
        });
        if found != Err(NoRoute::NoPath) || question.failed_channels.is_empty() {
            return found;
        }
        in_pieces(whole, |amount_msat, taken| {
            let query = query_for_piece(question, amount_msat, taken);
            let parameters = query.parameters(question.onion, false, height)?;
            let channels = remaining_channels(&channels, taken);
            let in_flight = self.in_flight_with(&in_flight, taken);
            let route = self
                .finder
                .find(&query, &parameters, &channels, &in_flight)?;
            route.paths.into_iter().next().ok_or(NoRoute::NoPath)
        })
    }

    fn in_flight_with(&self, in_flight: &InFlightHtlcs, taken: &[Path]) -> InFlightHtlcs {
        let mut in_flight = in_flight.clone();
        for path in taken {
            in_flight.process_path(path, self.our_node_id);
        }
        in_flight
    }
}

impl<M> OutboundHtlcs for ManagerOutboundHtlcs<M>
where
    M: Deref + Send + Sync,
    M::Target: AChannelManager,
{
    fn find_paths(&self, question: &RouteQuestion<'_>) -> Result<Vec<Path>, FailureReason> {
        self.find(question).map_err(|why| {
            tracing::info!(amount_msat = question.open.amount_msat, "no route: {why}");
            match why {
                NoRoute::InsufficientBalance { .. } => FailureReason::InsufficientBalance,
                NoRoute::FeeLimit { .. } | NoRoute::NoPath => FailureReason::NoRoute,
                NoRoute::PayloadTooLarge | NoRoute::ToSelf | NoRoute::NoAmount => {
                    FailureReason::Error
                }
            }
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

fn query(question: &RouteQuestion<'_>, amount_msat: u64, parts: u32) -> RouteQuery {
    let terms = question.terms;
    RouteQuery {
        max_parts: u8::try_from(parts).unwrap_or(u8::MAX),
        final_cltv_delta: terms.final_cltv_delta,
        cltv_limit: (terms.cltv_limit > 0).then_some(terms.cltv_limit),
        outgoing_channels: terms.outgoing_channels.clone(),
        last_hop: terms
            .last_hop
            .as_deref()
            .and_then(crate::payments::parse_key),
        route_hints: question.route_hints.to_vec(),
        failed_channels: question.failed_channels.iter().map(|c| c.scid).collect(),
        ..RouteQuery::new(
            question.destination,
            amount_msat,
            question.open.fee_limit_msat,
        )
    }
}

/// The query for one more piece: channels that failed with a larger amount may be tried again, and the
/// fees of the other pieces are deducted from the limit.
fn query_for_piece(question: &RouteQuestion<'_>, amount_msat: u64, taken: &[Path]) -> RouteQuery {
    let query = query(question, amount_msat, 1);
    let fees = taken.iter().map(Path::fee_msat);
    let fees = fees.fold(0, u64::saturating_add);
    let failed = question.failed_channels.iter();
    RouteQuery {
        fee_limit_msat: query.fee_limit_msat.saturating_sub(fees),
        failed_channels: failed
            .filter(|failed| failed.from_msat <= amount_msat)
            .map(|failed| failed.scid)
            .collect(),
        ..query
    }
}

/// Our channels, with their liquidity reduced by the pieces already routed.
fn remaining_channels(channels: &[ChannelDetails], taken: &[Path]) -> Vec<ChannelDetails> {
    let mut left = channels.to_vec();
    for path in taken {
        let first = path.hops.first().map(|hop| hop.short_channel_id);
        let names = |channel: &ChannelDetails| {
            [channel.short_channel_id, channel.outbound_scid_alias].contains(&first)
        };
        if let (Some(channel), true) = (left.iter_mut().find(|c| names(c)), first.is_some()) {
            let taken = path.final_value_msat().saturating_add(path.fee_msat());
            let less = |msat: u64| msat.saturating_sub(taken);
            channel.outbound_capacity_msat = less(channel.outbound_capacity_msat);
            channel.next_outbound_htlc_limit_msat = less(channel.next_outbound_htlc_limit_msat);
        }
    }
    left
}
