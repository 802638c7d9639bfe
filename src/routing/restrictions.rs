//! Keeps routes away from ignored nodes and node pairs.

use std::collections::HashSet;

use bitcoin::secp256k1::PublicKey;
use lightning::routing::gossip::NodeId;
use lightning::routing::router::{CandidateRouteHop, Path};
use lightning::routing::scoring::{ChannelUsage, ScoreLookUp};

use super::into_payee::IntoPayee;

/// The nodes and node pairs a route must not use.
#[derive(Debug, Clone, Default)]
pub struct Avoid {
    /// Nodes that must not forward. They may still be the payee, as in lnd.
    pub nodes: HashSet<NodeId>,
    /// Pairs of adjacent nodes, in the direction of the payment.
    pub pairs: HashSet<(NodeId, NodeId)>,
}

impl Avoid {
    fn forbids(&self, from: NodeId, to: NodeId) -> bool {
        self.nodes.contains(&from) || self.pairs.contains(&(from, to))
    }

    /// Returns whether a path from us uses a forbidden node or pair.
    pub(super) fn forbids_path(&self, path: &Path, our_node_id: &PublicKey) -> bool {
        let targets = path.hops.iter().map(|hop| NodeId::from_pubkey(&hop.pubkey));
        let us = std::iter::once(NodeId::from_pubkey(our_node_id));
        let sources = us.chain(targets.clone());
        sources
            .zip(targets)
            .any(|(from, to)| self.forbids(from, to))
    }
}

/// A scorer that enforces [`Avoid`]. LDK's router has no such restriction, but it skips channels with a
/// penalty of `u64::MAX`.
pub(super) struct RestrictedScorer<'a, S> {
    pub scorer: &'a IntoPayee<'a, S>,
    pub avoid: &'a Avoid,
}

impl<S: ScoreLookUp> ScoreLookUp for RestrictedScorer<'_, S> {
    type ScoreParams = S::ScoreParams;

    fn channel_penalty_msat(
        &self,
        candidate: &CandidateRouteHop,
        usage: ChannelUsage,
        score_params: &Self::ScoreParams,
    ) -> u64 {
        let from = candidate.source();
        let forbidden = candidate
            .target()
            .is_some_and(|to| self.avoid.forbids(from, to));
        if forbidden {
            return u64::MAX;
        }
        self.scorer
            .channel_penalty_msat(candidate, usage, score_params)
    }
}
