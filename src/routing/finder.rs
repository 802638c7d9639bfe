//! Finds the routes of a payment, or says why there are none.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::NodeId;
use lightning::routing::router::{
    InFlightHtlcs, Path, Route, RouteParameters, ScorerAccountingForInFlightHtlcs, find_route,
};
use lightning::routing::scoring::ProbabilisticScoringFeeParameters;
use lightning::sign::EntropySource;

use super::into_payee::{IntoPayee, raised};
use super::query::{NoRoute, RouteQuery};
use crate::ldk::{KeysManager, NetworkGraph, Scorer};
use crate::logger::LdkLogger;

/// Channels that a search for parts leaves out at most because their parts would be raised.
const MOST_LEFT_OUT: usize = 10;

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
    /// deliver exactly the amount: `IntoPayee` says how.
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
        let search = Search {
            query,
            first_hops: &first_hops,
            in_flight,
        };
        if let Some(route) = self.search_exact(&search, parameters) {
            return Ok(route);
        }
        self.search_unlimited(&search, parameters)
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

    /// A route that delivers no more than the amount.
    ///
    /// A part may be raised to what its last channel forwards at least. Then this searches again
    /// without that channel, and at last for one part, which is never raised.
    fn search_exact(&self, search: &Search<'_>, parameters: &RouteParameters) -> Option<Route> {
        let mut left_out = HashSet::new();
        while left_out.len() < MOST_LEFT_OUT {
            let Some(route) = self.search(search, parameters, &left_out) else {
                break;
            };
            if route.get_total_amount() == search.query.amount_msat {
                return Some(route);
            }
            let paths = route.paths.iter();
            let raised = paths.filter_map(|path| raised(path, &self.graph, search.first_hops));
            let before = left_out.len();
            left_out.extend(raised);
            if left_out.len() == before {
                break;
            }
        }
        if left_out.is_empty() {
            return None;
        }
        let mut one_part = parameters.clone();
        one_part.payment_params.max_path_count = 1;
        self.search(search, &one_part, &HashSet::new())
            .filter(|route| route.get_total_amount() == search.query.amount_msat)
    }

    fn search(
        &self,
        search: &Search<'_>,
        parameters: &RouteParameters,
        left_out: &HashSet<u64>,
    ) -> Option<Route> {
        let Search {
            query,
            first_hops,
            in_flight,
        } = *search;
        // A poisoned scorer has half an update at worst: its scores are guesses anyway.
        let scorer = self.scorer.read().unwrap_or_else(PoisonError::into_inner);
        let scorer = ScorerAccountingForInFlightHtlcs::new(&*scorer, in_flight);
        let scorer = IntoPayee {
            scorer: &scorer,
            payee: NodeId::from_pubkey(&query.payee),
            last_hop: query.last_hop.as_ref().map(NodeId::from_pubkey),
            amount_msat: query.amount_msat,
            left_out,
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
        search: &Search<'_>,
        parameters: &RouteParameters,
    ) -> Result<Route, NoRoute> {
        let unlimited = RouteParameters {
            max_total_routing_fee_msat: None,
            ..parameters.clone()
        };
        let found = self.search_exact(search, &unlimited);
        let route = found.ok_or(NoRoute::NoPath)?;
        let (limit_msat, needed_msat) = (search.query.fee_limit_msat, route.get_total_fees());
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

/// What is searched for, and from where.
#[derive(Clone, Copy)]
struct Search<'a> {
    query: &'a RouteQuery,
    first_hops: &'a [&'a ChannelDetails],
    in_flight: &'a InFlightHtlcs,
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
