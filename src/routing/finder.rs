//! Finds the routes of a payment, or says why there are none.

use std::sync::{Arc, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::NodeId;
use lightning::routing::router::{
    InFlightHtlcs, Path, Route, RouteParameters, ScorerAccountingForInFlightHtlcs, find_route,
};
use lightning::routing::scoring::ProbabilisticScoringFeeParameters;
use lightning::sign::EntropySource;

use super::last_hop::LastHopOnly;
use super::query::{NoRoute, RouteQuery};
use crate::ldk::{KeysManager, NetworkGraph, Scorer};
use crate::logger::LdkLogger;

/// LDK's router with our rules around it.
pub struct RouteFinder {
    graph: Arc<NetworkGraph>,
    scorer: Arc<Scorer>,
    keys: Arc<KeysManager>,
    logger: Arc<LdkLogger>,
    our_node_id: PublicKey,
    fees: ProbabilisticScoringFeeParameters,
}

impl RouteFinder {
    pub fn new(
        graph: Arc<NetworkGraph>,
        scorer: Arc<Scorer>,
        keys: Arc<KeysManager>,
        logger: Arc<LdkLogger>,
        our_node_id: PublicKey,
    ) -> Self {
        let fees = ProbabilisticScoringFeeParameters::default();
        Self {
            graph,
            scorer,
            keys,
            logger,
            our_node_id,
            fees,
        }
    }

    /// Routes that together carry the query's amount, one per part.
    ///
    /// `parameters` are those of [`RouteQuery::parameters`]; `channels` our usable channels; and
    /// `in_flight` what payments under way already take (`ChannelManager` tells both). The parts
    /// may carry a little more than the amount if a channel's smallest HTLC asks for it: see
    /// [`lightning::routing::router::Route::get_total_amount`].
    pub fn find(
        &self,
        query: &RouteQuery,
        parameters: &RouteParameters,
        channels: &[ChannelDetails],
        in_flight: &InFlightHtlcs,
    ) -> Result<Route, NoRoute> {
        self.check(query)?;
        let first_hops = first_hops(&query.outgoing_channels, channels);
        check_balance(query, &first_hops)?;
        if let Some(route) = self.search(query, parameters, &first_hops, in_flight) {
            return Ok(route);
        }
        self.search_unlimited(query, parameters, &first_hops, in_flight)
    }

    fn check(&self, query: &RouteQuery) -> Result<(), NoRoute> {
        if query.payee == self.our_node_id {
            return Err(NoRoute::ToSelf);
        }
        if query.amount_msat == 0 {
            return Err(NoRoute::NoAmount);
        }
        if query.most_blocks() < query.least_blocks() {
            return Err(NoRoute::NoPath);
        }
        Ok(())
    }

    fn search(
        &self,
        query: &RouteQuery,
        parameters: &RouteParameters,
        first_hops: &[&ChannelDetails],
        in_flight: &InFlightHtlcs,
    ) -> Option<Route> {
        // A poisoned scorer has half an update at worst: its scores are guesses anyway.
        let scorer = self.scorer.read().unwrap_or_else(PoisonError::into_inner);
        let scorer = ScorerAccountingForInFlightHtlcs::new(&*scorer, in_flight);
        let scorer = LastHopOnly {
            scorer: &scorer,
            payee: NodeId::from_pubkey(&query.payee),
            last_hop: query.last_hop.as_ref().map(NodeId::from_pubkey),
        };
        let found = find_route(
            &self.our_node_id,
            parameters,
            &self.graph,
            Some(first_hops),
            &*self.logger,
            &scorer,
            &self.fees,
            &self.keys.get_secure_random_bytes(),
        );
        let mut route = found.ok()?;
        for path in &mut route.paths {
            cut_to(path, query.most_blocks());
        }
        let keeps_last_hop = |path| ends_at(path, query, &self.our_node_id);
        route.paths.iter().all(keeps_last_hop).then_some(route)
    }

    /// LDK drops what is too dear while it searches, so only a search without limit tells whether
    /// the limit was the reason. LDK may also drop what would have kept a small limit: that is
    /// found here.
    fn search_unlimited(
        &self,
        query: &RouteQuery,
        parameters: &RouteParameters,
        first_hops: &[&ChannelDetails],
        in_flight: &InFlightHtlcs,
    ) -> Result<Route, NoRoute> {
        let unlimited = RouteParameters {
            max_total_routing_fee_msat: None,
            ..parameters.clone()
        };
        let found = self.search(query, &unlimited, first_hops, in_flight);
        let route = found.ok_or(NoRoute::NoPath)?;
        let (limit_msat, needed_msat) = (query.fee_limit_msat, route.get_total_fees());
        if needed_msat > limit_msat {
            return Err(NoRoute::FeeLimit {
                limit_msat,
                needed_msat,
            });
        }
        Ok(Route {
            route_params: Some(parameters.clone()),
            ..route
        })
    }
}

/// The usable channels that may be the first hop; `wanted` is empty or names them.
pub(super) fn first_hops<'a>(
    wanted: &[u64],
    channels: &'a [ChannelDetails],
) -> Vec<&'a ChannelDetails> {
    let allowed = |channel: &&ChannelDetails| {
        let mut names = [channel.short_channel_id, channel.outbound_scid_alias].into_iter();
        wanted.is_empty() || names.any(|name| name.is_some_and(|name| wanted.contains(&name)))
    };
    channels
        .iter()
        .filter(|channel| channel.is_usable)
        .filter(allowed)
        .collect()
}

/// Without fees, as lnd: an amount that only the fees make too large has no route.
pub(super) fn check_balance(
    query: &RouteQuery,
    first_hops: &[&ChannelDetails],
) -> Result<(), NoRoute> {
    let balances = first_hops
        .iter()
        .map(|channel| channel.outbound_capacity_msat);
    let available_msat = balances.fold(0, u64::saturating_add);
    if available_msat < query.amount_msat {
        return Err(NoRoute::InsufficientBalance {
            available_msat,
            needed_msat: query.amount_msat,
        });
    }
    Ok(())
}

/// Whether the path's last hop starts where the query wants it. The scorer has seen to that, but
/// LDK documents the effect of `u64::MAX` nowhere.
fn ends_at(path: &Path, query: &RouteQuery, our_node_id: &PublicKey) -> bool {
    let Some(wanted) = query.last_hop else {
        return true;
    };
    let before_last = path
        .hops
        .iter()
        .rev()
        .nth(1)
        .map_or(our_node_id, |hop| &hop.pubkey);
    *before_last == wanted
}

/// Takes from the random offset, which LDK has added to the last hop, what is beyond the limit.
///
/// The offset is at least as large: LDK keeps the limit before it adds the offset.
fn cut_to(path: &mut Path, most_blocks: u32) {
    let deltas = path.hops.iter().map(|hop| hop.cltv_expiry_delta);
    let excess = deltas
        .fold(0, u32::saturating_add)
        .saturating_sub(most_blocks);
    if let Some(last) = path.hops.last_mut() {
        last.cltv_expiry_delta = last.cltv_expiry_delta.saturating_sub(excess);
    }
}

#[cfg(test)]
pub(super) mod tests;
