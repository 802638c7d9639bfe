//! Route queries (`QueryRoutes`): finds a route without sending anything or updating scores.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::routing::gossip::NodeId;
use lightning::routing::router::{
    Path, RouteHop, RouteParameters, ScorerAccountingForInFlightHtlcs, find_route,
};
use lightning::routing::scoring::{
    FixedPenaltyScorer, ProbabilisticScoringFeeParameters, ScoreLookUp,
};
use lightning::sign::EntropySource;

use super::finder::{check_balance, first_hops};
use super::into_payee::IntoPayee;
use super::our_channels::OurChannels;
use super::query::{BLOCK_PADDING, NoRoute, RouteQuery};
pub use super::restrictions::Avoid;
use super::restrictions::RestrictedScorer;
use crate::ldk::{ChannelManager, KeysManager, NetworkGraph, Scorer};
use crate::logging::ldk::LdkLogger;
use crate::sync::read;

/// A route request. The route has a single path regardless of the query's `max_parts`, and ends exactly
/// `final_cltv_delta` blocks from now: neither block padding nor LDK's random offset is added.
pub struct RouteRequest<'a> {
    pub query: RouteQuery,
    pub avoid: Avoid,
    /// Whether scores from earlier payments count; otherwise the cheapest route wins.
    pub use_scores: bool,
    /// The payee's onion fields, which reduce the space left for hops.
    pub onion: &'a RecipientOnionFields,
}

/// A route found for a request.
#[derive(Debug, Clone)]
pub struct QueriedRoute {
    pub path: Path,
    /// The estimated success probability, 0 to 1.
    pub success_probability: f64,
    /// The height of the best block at the time of the search.
    pub height: u32,
}

/// Finds and builds routes for API clients.
pub struct Routes {
    pub(super) manager: Arc<ChannelManager>,
    pub(super) graph: Arc<NetworkGraph>,
    pub(super) our_node_id: PublicKey,
    scorer: Arc<Scorer>,
    keys: Arc<KeysManager>,
    logger: Arc<LdkLogger>,
    fees: ProbabilisticScoringFeeParameters,
}

impl Routes {
    /// Creates a route finder for the node of this channel manager.
    pub fn new(
        manager: Arc<ChannelManager>,
        graph: Arc<NetworkGraph>,
        scorer: Arc<Scorer>,
        keys: Arc<KeysManager>,
        logger: Arc<LdkLogger>,
    ) -> Self {
        Self {
            our_node_id: manager.get_our_node_id(),
            manager,
            graph,
            scorer,
            keys,
            logger,
            fees: ProbabilisticScoringFeeParameters::default(),
        }
    }

    /// Finds a route that satisfies every restriction of the request.
    ///
    /// # Errors
    /// [`NoRoute`] if there is none.
    pub fn query(&self, request: &RouteRequest<'_>) -> Result<QueriedRoute, NoRoute> {
        self.find(request, &OurChannels::of(&*self.manager))
    }

    fn find(
        &self,
        request: &RouteRequest<'_>,
        ours: &OurChannels,
    ) -> Result<QueriedRoute, NoRoute> {
        self.check(request, ours)?;
        let query = RouteQuery {
            max_parts: 1,
            final_cltv_delta: request.query.final_cltv_delta.saturating_sub(BLOCK_PADDING),
            ..request.query.clone()
        };
        let parameters = query.parameters(request.onion, false, ours.height)?;
        let mut path = match self.scored(request, &parameters, ours) {
            Some(path) => path,
            None => self.unlimited(request, &parameters, ours)?,
        };
        if let Some(last) = path.hops.last_mut() {
            last.cltv_expiry_delta = query.min_blocks();
        }
        let success_probability = match request.use_scores {
            true => self.success_probability(&path),
            false => 1.0,
        };
        Ok(QueriedRoute {
            path,
            success_probability,
            height: ours.height,
        })
    }

    fn check(&self, request: &RouteRequest<'_>, ours: &OurChannels) -> Result<(), NoRoute> {
        let query = &request.query;
        if query.payee == self.our_node_id {
            return Err(NoRoute::ToSelf);
        }
        if query.amount_msat == 0 {
            return Err(NoRoute::NoAmount);
        }
        let first_hops = first_hops(&query.outgoing_channels, &ours.usable);
        check_balance(query, &first_hops)
    }

    /// Searches without a fee limit. LDK discards expensive candidates during the search, so only this tells
    /// whether the limit was the reason; it may even find a route within the limit.
    fn unlimited(
        &self,
        request: &RouteRequest<'_>,
        parameters: &RouteParameters,
        ours: &OurChannels,
    ) -> Result<Path, NoRoute> {
        let unlimited = RouteParameters {
            max_total_routing_fee_msat: None,
            ..parameters.clone()
        };
        let path = self
            .scored(request, &unlimited, ours)
            .ok_or(NoRoute::NoPath)?;
        let (limit_msat, needed_msat) = (request.query.fee_limit_msat, path.fee_msat());
        if needed_msat > limit_msat {
            return Err(NoRoute::FeeLimit {
                limit_msat,
                needed_msat,
            });
        }
        Ok(path)
    }

    fn scored(
        &self,
        request: &RouteRequest<'_>,
        parameters: &RouteParameters,
        ours: &OurChannels,
    ) -> Option<Path> {
        if request.use_scores {
            let scorer = read(&self.scorer);
            let scorer = ScorerAccountingForInFlightHtlcs::new(&*scorer, &ours.in_flight);
            return self.search(request, parameters, ours, &scorer, &self.fees);
        }
        let scorer = FixedPenaltyScorer::with_penalty(0);
        let scorer = ScorerAccountingForInFlightHtlcs::new(&scorer, &ours.in_flight);
        self.search(request, parameters, ours, &scorer, &())
    }

    fn search<S: ScoreLookUp>(
        &self,
        request: &RouteRequest<'_>,
        parameters: &RouteParameters,
        ours: &OurChannels,
        scorer: &S,
        score_params: &S::ScoreParams,
    ) -> Option<Path> {
        let query = &request.query;
        let scorer = IntoPayee {
            scorer,
            payee: NodeId::from_pubkey(&query.payee),
            last_hop: query.last_hop.as_ref().map(NodeId::from_pubkey),
            amount_msat: query.amount_msat,
            excluded: &HashSet::new(),
        };
        let scorer = RestrictedScorer {
            scorer: &scorer,
            avoid: &request.avoid,
        };
        let first_hops = first_hops(&query.outgoing_channels, &ours.usable);
        let found = find_route(
            &self.our_node_id,
            parameters,
            &self.graph,
            Some(&first_hops),
            &*self.logger,
            &scorer,
            score_params,
            &self.keys.get_secure_random_bytes(),
        );
        let [path] = <[Path; 1]>::try_from(found.ok()?.paths).ok()?;
        self.satisfies(&path, request).then_some(path)
    }

    /// Checks the restrictions again: LDK does not document that a penalty of `u64::MAX` excludes a channel.
    fn satisfies(&self, path: &Path, request: &RouteRequest<'_>) -> bool {
        let before_last = path.hops.iter().rev().nth(1);
        let before_last = before_last.map_or(self.our_node_id, |hop| hop.pubkey);
        path.final_value_msat() == request.query.amount_msat
            && request
                .query
                .last_hop
                .is_none_or(|wanted| wanted == before_last)
            && !request.avoid.forbids_path(path, &self.our_node_id)
    }

    /// Returns the product of the success probabilities of all channels except our own, whose balance is
    /// known. A channel missing from the graph (from a route hint) counts as certain.
    fn success_probability(&self, path: &Path) -> f64 {
        let scorer = read(&self.scorer);
        let mut amount_msat: u64 = path.hops.iter().map(|hop| hop.fee_msat).sum();
        let mut probability = 1.0;
        for (position, hop) in path.hops.iter().enumerate() {
            let target = NodeId::from_pubkey(&hop.pubkey);
            if position > 0 {
                probability *= scorer
                    .historical_estimated_payment_success_probability(
                        hop.short_channel_id,
                        &target,
                        amount_msat,
                        &self.fees,
                        true,
                    )
                    .unwrap_or(1.0);
            }
            amount_msat = amount_msat.saturating_sub(hop.fee_msat);
        }
        probability
    }

    /// Returns the two nodes of a public channel, the one with the lower key first.
    pub fn ends(&self, scid: u64) -> Option<(NodeId, NodeId)> {
        let graph = self.graph.read_only();
        let channel = graph.channel(scid)?;
        Some((channel.node_one, channel.node_two))
    }

    /// Returns the capacity in sat of each channel of the path, if known.
    pub fn capacities_sat(&self, path: &Path) -> Vec<Option<u64>> {
        let ours = self.own_capacities_sat();
        let graph = self.graph.read_only();
        let capacity = |hop: &RouteHop| {
            let ours = ours.get(&hop.short_channel_id).copied();
            ours.or_else(|| graph.channel(hop.short_channel_id)?.capacity_sats)
        };
        path.hops.iter().map(capacity).collect()
    }

    /// Returns the capacities of our channels in sat, by their SCIDs and outbound SCID aliases.
    fn own_capacities_sat(&self) -> HashMap<u64, u64> {
        let channels = self.manager.list_channels().into_iter();
        let named = channels.flat_map(|channel| {
            let names = [channel.short_channel_id, channel.outbound_scid_alias];
            let sat = channel.channel_value_satoshis;
            names.into_iter().flatten().map(move |scid| (scid, sat))
        });
        named.collect()
    }

    /// Returns the height of the best block.
    pub fn height(&self) -> u32 {
        self.manager.current_best_block().height
    }
}

#[cfg(test)]
pub(super) mod tests;
