//! Which channels into the payee a route may end with.

use std::collections::HashSet;

use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::NodeId;
use lightning::routing::router::{CandidateRouteHop, Path};
use lightning::routing::scoring::{ChannelUsage, ScoreLookUp};

use crate::ldk::NetworkGraph;

/// A scorer that forbids some channels into the payee: those of other nodes if the caller has named
/// one, those whose smallest HTLC is larger than the amount, and those that were left out.
///
/// LDK's router has no such restrictions, but it leaves out what costs `u64::MAX`.
///
/// It raises what the payee gets to the smallest HTLC of the last channel (`htlc_minimum_msat`)
/// and counts the difference as a fee. The payee keeps it: one that controls its peer could set the
/// minimum such that it gets all of the payer's fee limit. lnd never delivers more than the amount,
/// and neither do we.
pub(super) struct IntoPayee<'a, S> {
    pub scorer: &'a S,
    pub payee: NodeId,
    pub last_hop: Option<NodeId>,
    /// What the payee is to get in all parts together.
    pub amount_msat: u64,
    /// Short channel ids.
    pub left_out: &'a HashSet<u64>,
}

impl<S> IntoPayee<'_, S> {
    fn forbids(&self, candidate: &CandidateRouteHop) -> bool {
        if candidate.target() != Some(self.payee) {
            return false;
        }
        let from_other = self
            .last_hop
            .is_some_and(|allowed| candidate.source() != allowed);
        let left_out = scid(candidate).is_some_and(|scid| self.left_out.contains(&scid));
        from_other || left_out || candidate.htlc_minimum_msat() > self.amount_msat
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

/// As it is named in a path; none for a channel of a route hint.
fn scid(candidate: &CandidateRouteHop) -> Option<u64> {
    match candidate {
        CandidateRouteHop::FirstHop(hop) => hop.details.get_outbound_payment_scid(),
        other => other.globally_unique_short_channel_id(),
    }
}

/// The last channel of the path, if the path delivers no more than this channel's smallest HTLC: then
/// the amount was raised to it.
pub(super) fn raised(
    path: &Path,
    graph: &NetworkGraph,
    first_hops: &[&ChannelDetails],
) -> Option<u64> {
    let last = path.hops.last()?;
    let scid = last.short_channel_id;
    let least_msat = if path.hops.len() == 1 {
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
    let is_raised = least_msat.is_some_and(|least_msat| path.final_value_msat() <= least_msat);
    is_raised.then_some(scid)
}
