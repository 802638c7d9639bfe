//! Keeps routes to those whose last hop starts at a given node.

use lightning::routing::gossip::NodeId;
use lightning::routing::router::CandidateRouteHop;
use lightning::routing::scoring::{ChannelUsage, ScoreLookUp};

/// A scorer that forbids every channel into the payee but those of one node.
///
/// LDK's router has no such restriction, but it leaves out what costs `u64::MAX`.
pub(super) struct LastHopOnly<'a, S> {
    pub scorer: &'a S,
    pub payee: NodeId,
    pub last_hop: Option<NodeId>,
}

impl<S: ScoreLookUp> ScoreLookUp for LastHopOnly<'_, S> {
    type ScoreParams = S::ScoreParams;

    fn channel_penalty_msat(
        &self,
        candidate: &CandidateRouteHop,
        usage: ChannelUsage,
        score_params: &Self::ScoreParams,
    ) -> u64 {
        let into_payee = candidate.target() == Some(self.payee);
        let from_other = self
            .last_hop
            .is_some_and(|allowed| candidate.source() != allowed);
        if into_payee && from_other {
            return u64::MAX;
        }
        self.scorer
            .channel_penalty_msat(candidate, usage, score_params)
    }
}
