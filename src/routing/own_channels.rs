//! Our own channels as parts of the network graph.

use std::collections::BTreeMap;

use bitcoin::OutPoint;
use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::{ChannelInfo, ChannelUpdateInfo, NodeId};

use super::edge::{Edge, Policy, Proof};
use super::forwarding_terms::ForwardingTerms;
use crate::ldk::ChannelManager;

/// Our open channels, of which we know more than the graph does.
pub(super) struct OwnChannels {
    by_scid: BTreeMap<u64, ChannelDetails>,
    us: NodeId,
}

impl OwnChannels {
    /// Lists our open channels.
    pub(super) fn of(manager: &ChannelManager) -> Self {
        let channels = manager.list_channels().into_iter();
        let open = channels.filter(|channel| channel.is_channel_ready);
        let own = open.filter_map(|channel| Some((channel.short_channel_id?, channel)));
        Self {
            by_scid: own.collect(),
            us: NodeId::from_pubkey(&manager.get_our_node_id()),
        }
    }

    /// Returns those of a node without channels.
    pub(super) fn none(us: NodeId) -> Self {
        Self {
            by_scid: BTreeMap::new(),
            us,
        }
    }

    /// Returns our node id.
    pub(super) fn us(&self) -> NodeId {
        self.us
    }

    /// Returns the short channel ids in ascending order.
    pub(super) fn scids(&self) -> impl Iterator<Item = u64> {
        self.by_scid.keys().copied()
    }

    /// Returns ourselves and the peers of our channels.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.by_scid.values().map(peer).chain([self.us])
    }

    /// Returns the short channel id of our channel with this funding outpoint.
    pub(super) fn scid(&self, point: &OutPoint) -> Option<u64> {
        let mut own = self.by_scid.iter();
        let own = own.find(|(_, own)| funding(own) == Some(*point));
        own.map(|(scid, _)| *scid)
    }

    /// Returns an announced channel, ours or not.
    pub(super) fn announced(&self, scid: u64, info: &ChannelInfo) -> Edge {
        let own = self.by_scid.get(&scid);
        Edge {
            scid,
            point: own.and_then(funding),
            capacity_sat: own
                .map(|own| own.channel_value_satoshis)
                .or(info.capacity_sats),
            node_1: info.node_one,
            node_2: info.node_two,
            policy_1: info.one_to_two.as_ref().map(announced_policy),
            policy_2: info.two_to_one.as_ref().map(announced_policy),
            proof: proof(info),
        }
    }

    /// Returns our channel with this short channel id as an unannounced one.
    pub(super) fn edge(&self, scid: u64) -> Option<Edge> {
        let own = self.by_scid.get(&scid)?;
        let policy = |terms, disabled| Policy {
            terms,
            disabled,
            last_update: 0,
        };
        let ours = Some(policy(ForwardingTerms::ours(own), !own.is_usable));
        let theirs = ForwardingTerms::of_peer(own).map(|terms| policy(terms, false));
        let (us, them) = ((self.us, ours), (peer(own), theirs));
        let ((node_1, policy_1), (node_2, policy_2)) = if us.0 < them.0 {
            (us, them)
        } else {
            (them, us)
        };
        Some(Edge {
            scid,
            point: funding(own),
            capacity_sat: Some(own.channel_value_satoshis),
            node_1,
            node_2,
            policy_1,
            policy_2,
            proof: None,
        })
    }
}

fn peer(own: &ChannelDetails) -> NodeId {
    NodeId::from_pubkey(&own.counterparty.node_id)
}

fn funding(own: &ChannelDetails) -> Option<OutPoint> {
    Some(own.funding_txo?.into_bitcoin_outpoint())
}

fn announced_policy(update: &ChannelUpdateInfo) -> Policy {
    Policy {
        terms: ForwardingTerms {
            base_fee_msat: update.fees.base_msat,
            fee_rate_ppm: update.fees.proportional_millionths,
            cltv_delta_blocks: update.cltv_expiry_delta,
            min_htlc_msat: update.htlc_minimum_msat,
            max_htlc_msat: update.htlc_maximum_msat,
        },
        disabled: !update.enabled,
        last_update: update.last_update,
    }
}

/// Returns the announcement's signatures. LDK does not keep announcements with fields it does not know.
fn proof(info: &ChannelInfo) -> Option<Proof> {
    let announcement = info.announcement_message.as_ref()?;
    Some(Proof {
        node_1: announcement.node_signature_1,
        bitcoin_1: announcement.bitcoin_signature_1,
        node_2: announcement.node_signature_2,
        bitcoin_2: announcement.bitcoin_signature_2,
    })
}
