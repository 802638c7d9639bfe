//! Route queries (`QueryRoutes`): finds a route without sending anything or updating scores.

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::routing::gossip::NodeId;
use lightning::routing::router::{
    InFlightHtlcs, Path, RouteParameters, ScorerAccountingForInFlightHtlcs, find_route,
};
use lightning::routing::scoring::{
    FixedPenaltyScorer, ProbabilisticScoringFeeParameters, ScoreLookUp,
};
use lightning::sign::EntropySource;

use super::finder::{check_balance, first_hops};
use super::into_payee::IntoPayee;
pub use super::not_over::Avoid;
use super::not_over::NotOver;
use super::query::{BLOCK_PADDING, NoRoute, RouteQuery};
use crate::ldk::{KeysManager, NetworkGraph, Scorer};
use crate::logging::ldk::LdkLogger;
use crate::sync::read;

/// A route request. The route has a single path regardless of the query's `max_parts`, and ends exactly
/// `final_cltv_delta` blocks from now: neither block padding nor LDK's random offset is added.
pub struct RouteWish<'a> {
    pub query: RouteQuery,
    pub avoid: Avoid,
    /// Whether scores from earlier payments count; otherwise the cheapest route wins.
    pub use_scores: bool,
    /// The payee's onion fields, which reduce the space left for hops.
    pub onion: &'a RecipientOnionFields,
}

/// A snapshot of our channels, from the channel manager.
pub struct OurChannels<'a> {
    /// Our usable channels.
    pub channels: &'a [ChannelDetails],
    pub in_flight: &'a InFlightHtlcs,
    /// The height of the best block.
    pub height: u32,
}

/// A route found for a request.
#[derive(Debug, Clone)]
pub struct AskedRoute {
    pub path: Path,
    /// The estimated success probability, 0 to 1.
    pub success_probability: f64,
}

/// Finds and builds routes for API clients.
pub struct Routes {
    pub(super) graph: Arc<NetworkGraph>,
    pub(super) our_node_id: PublicKey,
    scorer: Arc<Scorer>,
    keys: Arc<KeysManager>,
    logger: Arc<LdkLogger>,
    fees: ProbabilisticScoringFeeParameters,
}

impl Routes {
    /// Creates a route finder for the node `our_node_id`.
    pub fn new(
        graph: Arc<NetworkGraph>,
        scorer: Arc<Scorer>,
        keys: Arc<KeysManager>,
        logger: Arc<LdkLogger>,
        our_node_id: PublicKey,
    ) -> Self {
        Self {
            graph,
            our_node_id,
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
    pub fn find(
        &self,
        wish: &RouteWish<'_>,
        ours: &OurChannels<'_>,
    ) -> Result<AskedRoute, NoRoute> {
        self.check(wish, ours)?;
        let query = RouteQuery {
            max_parts: 1,
            final_cltv_delta: wish.query.final_cltv_delta.saturating_sub(BLOCK_PADDING),
            ..wish.query.clone()
        };
        let parameters = query.parameters(wish.onion, false, ours.height)?;
        let mut path = match self.scored(wish, &parameters, ours) {
            Some(path) => path,
            None => self.unlimited(wish, &parameters, ours)?,
        };
        if let Some(last) = path.hops.last_mut() {
            last.cltv_expiry_delta = query.min_blocks();
        }
        let success_probability = match wish.use_scores {
            true => self.success_probability(&path),
            false => 1.0,
        };
        Ok(AskedRoute {
            path,
            success_probability,
        })
    }

    fn check(&self, wish: &RouteWish<'_>, ours: &OurChannels<'_>) -> Result<(), NoRoute> {
        let query = &wish.query;
        if query.payee == self.our_node_id {
            return Err(NoRoute::ToSelf);
        }
        if query.amount_msat == 0 {
            return Err(NoRoute::NoAmount);
        }
        let first_hops = first_hops(&query.outgoing_channels, ours.channels);
        check_balance(query, &first_hops)
    }

    /// Searches without a fee limit. LDK discards expensive candidates during the search, so only this tells
    /// whether the limit was the reason; it may even find a route within the limit.
    fn unlimited(
        &self,
        wish: &RouteWish<'_>,
        parameters: &RouteParameters,
        ours: &OurChannels<'_>,
    ) -> Result<Path, NoRoute> {
        let unlimited = RouteParameters {
            max_total_routing_fee_msat: None,
            ..parameters.clone()
        };
        let path = self.scored(wish, &unlimited, ours).ok_or(NoRoute::NoPath)?;
        let (limit_msat, needed_msat) = (wish.query.fee_limit_msat, path.fee_msat());
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
        wish: &RouteWish<'_>,
        parameters: &RouteParameters,
        ours: &OurChannels<'_>,
    ) -> Option<Path> {
        if wish.use_scores {
            // A poisoned scorer has at worst half an update applied; scores are estimates anyway.
            let scorer = read(&self.scorer);
            let scorer = ScorerAccountingForInFlightHtlcs::new(&*scorer, ours.in_flight);
            return self.search(wish, parameters, ours, &scorer, &self.fees);
        }
        let scorer = FixedPenaltyScorer::with_penalty(0);
        let scorer = ScorerAccountingForInFlightHtlcs::new(&scorer, ours.in_flight);
        self.search(wish, parameters, ours, &scorer, &())
    }

    fn search<S: ScoreLookUp>(
        &self,
        wish: &RouteWish<'_>,
        parameters: &RouteParameters,
        ours: &OurChannels<'_>,
        scorer: &S,
        score_params: &S::ScoreParams,
    ) -> Option<Path> {
        let query = &wish.query;
        let scorer = IntoPayee {
            scorer,
            payee: NodeId::from_pubkey(&query.payee),
            last_hop: query.last_hop.as_ref().map(NodeId::from_pubkey),
            amount_msat: query.amount_msat,
            excluded: &HashSet::new(),
        };
        let scorer = NotOver {
            scorer: &scorer,
            avoid: &wish.avoid,
        };
        let first_hops = first_hops(&query.outgoing_channels, ours.channels);
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
        self.satisfies(&path, wish).then_some(path)
    }

    /// Checks the restrictions again: LDK does not document that a penalty of `u64::MAX` excludes a channel.
    fn satisfies(&self, path: &Path, wish: &RouteWish<'_>) -> bool {
        let before_last = path.hops.iter().rev().nth(1);
        let before_last = before_last.map_or(self.our_node_id, |hop| hop.pubkey);
        path.final_value_msat() == wish.query.amount_msat
            && wish
                .query
                .last_hop
                .is_none_or(|wanted| wanted == before_last)
            && !wish.avoid.forbids_path(path, &self.our_node_id)
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

    /// Returns a public channel's capacity in sat, if known.
    pub fn capacity_sat(&self, scid: u64) -> Option<u64> {
        self.graph.read_only().channel(scid)?.capacity_sats
    }
}

#[cfg(test)]
pub(super) mod tests;
