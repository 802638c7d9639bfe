//! Restricts the channels by which a route may reach the payee.

use std::collections::HashSet;

use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::NodeId;
use lightning::routing::router::{CandidateRouteHop, Path};
use lightning::routing::scoring::{ChannelUsage, ScoreLookUp};

use crate::ldk::NetworkGraph;

/// A scorer that forbids some channels into the payee: those from nodes other than the requested last
/// hop, those whose `htlc_minimum_msat` exceeds the amount, and excluded ones.
///
/// LDK's router has no such restrictions, but it skips channels with a penalty of `u64::MAX`.
///
/// LDK raises the delivered amount to the last channel's `htlc_minimum_msat` and counts the difference as
/// a fee. The payee keeps it: a payee that controls its peer could set a minimum that collects the whole
/// fee limit. lnd never delivers more than the amount, and neither does ampd.
pub(super) struct IntoPayee<'a, S> {
    pub scorer: &'a S,
    pub payee: NodeId,
    pub last_hop: Option<NodeId>,
    /// The amount of all parts together.
    pub amount_msat: u64,
    /// Short channel ids of excluded channels.
    pub excluded: &'a HashSet<u64>,
}

impl<S> IntoPayee<'_, S> {
    fn forbids(&self, candidate: &CandidateRouteHop) -> bool {
        if candidate.target() != Some(self.payee) {
            return false;
        }
        let from_other = self
            .last_hop
            .is_some_and(|allowed| candidate.source() != allowed);
        let is_excluded = scid(candidate).is_some_and(|scid| self.excluded.contains(&scid));
        from_other || is_excluded || candidate.htlc_minimum_msat() > self.amount_msat
    }
}

impl<S: ScoreLookUp> ScoreLookUp for IntoPayee<'_, S> {
    type ScoreParams = S::ScoreParams;

    fn channel_penalty_msat(
        &self,
        candidate: &CandidateRouteHop,
        usage: ChannelUsage,
        score_params: &Self::ScoreParams,
    ) -> u64 {
        if self.forbids(candidate) {
            return u64::MAX;
        }
        self.scorer
            .channel_penalty_msat(candidate, usage, score_params)
    }
}

/// Returns the short channel id that a path uses for this candidate; `None` for a route hint.
fn scid(candidate: &CandidateRouteHop) -> Option<u64> {
    match candidate {
        CandidateRouteHop::FirstHop(hop) => hop.details.get_outbound_payment_scid(),
        other => other.globally_unique_short_channel_id(),
    }
}

/// Returns the path's last channel if the path delivers no more than its `htlc_minimum_msat`, which
/// means the amount was raised to it.
pub(super) fn raised(
    path: &Path,
    graph: &NetworkGraph,
    first_hops: &[&ChannelDetails],
) -> Option<u64> {
    let last = path.hops.last()?;
    let scid = last.short_channel_id;
    let min_msat = if path.hops.len() == 1 {
        first_hops
            .iter()
            .find(|channel| channel.get_outbound_payment_scid() == Some(scid))
            .map(|channel| channel.next_outbound_htlc_minimum_msat)
    } else {
        let payee = NodeId::from_pubkey(&last.pubkey);
        let graph = graph.read_only();
        let update = graph
            .channel(scid)
            .and_then(|channel| match channel.node_two == payee {
                true => channel.one_to_two.as_ref(),
                false => channel.two_to_one.as_ref(),
            });
        update.map(|update| update.htlc_minimum_msat)
    };
    let is_raised = min_msat.is_some_and(|min_msat| path.final_value_msat() <= min_msat);
    is_raised.then_some(scid)
}
