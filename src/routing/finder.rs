//! Finds the routes of a payment, or the reason there are none.

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::NodeId;
use lightning::routing::router::{
    InFlightHtlcs, Path, Route, RouteParameters, ScorerAccountingForInFlightHtlcs, find_route,
};
use lightning::routing::scoring::ProbabilisticScoringFeeParameters;
use lightning::sign::EntropySource;

use super::into_payee::{IntoPayee, raised};
use super::query::{MIN_PART_MSAT, NoRoute, RouteQuery};
use crate::ldk::{KeysManager, NetworkGraph, Scorer};
use crate::logging::ldk::LdkLogger;
use crate::sync::read;

/// The maximum number of channels excluded from a search because their parts would be raised.
const MAX_EXCLUDED: usize = 10;

/// LDK's router with additional restrictions.
pub struct RouteFinder {
    graph: Arc<NetworkGraph>,
    scorer: Arc<Scorer>,
    keys: Arc<KeysManager>,
    logger: Arc<LdkLogger>,
    pub(super) our_node_id: PublicKey,
    fees: ProbabilisticScoringFeeParameters,
}

impl RouteFinder {
    /// Creates a finder for the node `our_node_id`.
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

    /// Finds a route whose paths, one per part, together deliver exactly the query's amount (see
    /// `IntoPayee`).
    ///
    /// `parameters` come from [`RouteQuery::parameters`]. `channels` are our usable channels and
    /// `in_flight` the HTLCs already in flight, both from the `ChannelManager`.
    ///
    /// # Errors
    /// [`NoRoute`] with the reason.
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
        match self.search_unlimited(&search, parameters) {
            Err(NoRoute::NoPath) if self.has_route_if_not_full(&search, parameters) => {
                Err(NoRoute::ChannelsFull)
            }
            found => found,
        }
    }

    /// Whether there would be a route if our full channels could carry HTLCs.
    fn has_route_if_not_full(&self, search: &Search<'_>, parameters: &RouteParameters) -> bool {
        let is_full = |channel: &ChannelDetails| is_full(channel, search.query.amount_msat);
        if !search.first_hops.iter().any(|channel| is_full(channel)) {
            return false;
        }
        let emptied = |channel: &ChannelDetails| match is_full(channel) {
            true => ChannelDetails {
                next_outbound_htlc_limit_msat: channel.outbound_capacity_msat,
                ..channel.clone()
            },
            false => channel.clone(),
        };
        let channels = search.first_hops.iter().map(|channel| emptied(channel));
        let channels: Vec<ChannelDetails> = channels.collect();
        let first_hops: Vec<&ChannelDetails> = channels.iter().collect();
        let search = Search {
            first_hops: &first_hops,
            ..*search
        };
        !matches!(
            self.search_unlimited(&search, parameters),
            Err(NoRoute::NoPath)
        )
    }

    fn check(&self, query: &RouteQuery) -> Result<(), NoRoute> {
        if query.payee == self.our_node_id {
            return Err(NoRoute::ToSelf);
        }
        if query.amount_msat == 0 {
            return Err(NoRoute::NoAmount);
        }
        if query.max_blocks() < query.min_blocks() {
            return Err(NoRoute::NoPath);
        }
        Ok(())
    }

    /// Finds a route that delivers exactly the amount.
    ///
    /// LDK may raise a part to its last channel's `htlc_minimum_msat`. Then this searches again without
    /// that channel, and finally for a single part, which is never raised.
    fn search_exact(&self, search: &Search<'_>, parameters: &RouteParameters) -> Option<Route> {
        let mut excluded = HashSet::new();
        while excluded.len() < MAX_EXCLUDED {
            let Some(route) = self.search(search, parameters, &excluded) else {
                break;
            };
            if route.get_total_amount() == search.query.amount_msat {
                return Some(route);
            }
            let paths = route.paths.iter();
            let raised = paths.filter_map(|path| raised(path, &self.graph, search.first_hops));
            let before = excluded.len();
            excluded.extend(raised);
            if excluded.len() == before {
                break;
            }
        }
        if excluded.is_empty() {
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
        excluded: &HashSet<u64>,
    ) -> Option<Route> {
        let Search {
            query,
            first_hops,
            in_flight,
        } = *search;
        let scorer = read(&self.scorer);
        let scorer = ScorerAccountingForInFlightHtlcs::new(&*scorer, in_flight);
        let scorer = IntoPayee {
            scorer: &scorer,
            payee: NodeId::from_pubkey(&query.payee),
            last_hop: query.last_hop.as_ref().map(NodeId::from_pubkey),
            amount_msat: query.amount_msat,
            excluded,
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
            trim_expiry(path, query.max_blocks());
        }
        let keeps_last_hop = |path| ends_at(path, query, &self.our_node_id);
        route.paths.iter().all(keeps_last_hop).then_some(route)
    }

    /// Searches without a fee limit. LDK discards expensive candidates during the search, so only this
    /// tells whether the limit was the reason. LDK may also discard a candidate that would have met a
    /// small limit; this finds it.
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

/// The input of a search.
#[derive(Clone, Copy)]
struct Search<'a> {
    query: &'a RouteQuery,
    first_hops: &'a [&'a ChannelDetails],
    in_flight: &'a InFlightHtlcs,
}

/// Returns the usable channels that may be the first hop. `wanted` lists their short channel ids or
/// aliases; if it is empty, any channel may be.
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

/// Fails if the first hops hold less than the amount. Fees are not counted, as in lnd: if only the fees
/// exceed the balance, there is no route.
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

/// Returns whether the channel could carry the amount, or at least a part of it, if it had fewer HTLCs in
/// flight: it carries as many, or as much, as the peer accepts.
fn is_full(channel: &ChannelDetails, amount_msat: u64) -> bool {
    channel.next_outbound_htlc_limit_msat == 0
        && !channel.pending_outbound_htlcs.is_empty()
        && channel.outbound_capacity_msat >= amount_msat.min(MIN_PART_MSAT)
}

/// Returns whether the last hop starts at the requested node. The scorer ensures this, but LDK does not
/// document that a penalty of `u64::MAX` excludes a channel.
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

/// Reduces the random offset that LDK added to the last hop so that the path meets the CLTV limit.
///
/// The offset is at least as large as the excess, since LDK meets the limit before adding it.
fn trim_expiry(path: &mut Path, max_blocks: u32) {
    let deltas = path.hops.iter().map(|hop| hop.cltv_expiry_delta);
    let excess = deltas
        .fold(0, u32::saturating_add)
        .saturating_sub(max_blocks);
    if let Some(last) = path.hops.last_mut() {
        last.cltv_expiry_delta = last.cltv_expiry_delta.saturating_sub(excess);
    }
}

#[cfg(test)]
pub(super) mod tests;
