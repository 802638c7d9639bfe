//! The network graph as shown to API clients: LDK's graph plus our channels missing from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bitcoin::OutPoint;
use bitcoin::secp256k1::PublicKey;
use bitcoin::secp256k1::ecdsa::Signature;
use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::{
    ChannelInfo, ChannelUpdateInfo, NodeAnnouncementInfo, NodeId, NodeInfo, ReadOnlyNetworkGraph,
};

use super::forwarding_terms::ForwardingTerms;
use crate::chain::{ChainError, Fundings};
use crate::ldk::{ChannelManager, NetworkGraph};

/// The routing policy of one end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub terms: ForwardingTerms,
    pub disabled: bool,
    /// Unix time in seconds; 0 if unknown.
    pub last_update: u32,
}

/// The signatures of a channel announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    pub node_1: Signature,
    pub bitcoin_1: Signature,
    pub node_2: Signature,
    pub bitcoin_2: Signature,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub scid: u64,
    /// The funding outpoint; known only for our own channels, since announcements do not contain it.
    pub point: Option<OutPoint>,
    pub capacity_sat: Option<u64>,
    /// The node with the smaller key.
    pub node_1: NodeId,
    pub node_2: NodeId,
    pub policy_1: Option<Policy>,
    pub policy_2: Option<Policy>,
    pub proof: Option<Proof>,
}

/// The network graph, and the chain in which the funding outputs of its channels are looked up.
pub struct Graph {
    graph: Arc<NetworkGraph>,
    manager: Arc<ChannelManager>,
    fundings: Fundings,
}

impl Graph {
    pub fn new(graph: Arc<NetworkGraph>, manager: Arc<ChannelManager>, fundings: Fundings) -> Self {
        Self {
            graph,
            manager,
            fundings,
        }
    }

    /// Returns a read-only view of the current graph.
    pub fn view(&self) -> GraphView<'_> {
        GraphView::new(&self.graph, &self.manager)
    }

    /// Returns whether no channel is known from gossip.
    pub fn is_empty(&self) -> bool {
        self.graph.read_only().channels().is_empty()
    }

    /// Returns the node's announced alias, or an empty string.
    pub fn alias(&self, node: &PublicKey) -> String {
        alias(&self.graph.read_only(), &node_id(node))
    }

    /// Returns the short channel id of a channel point: our own channels are known, others are looked
    /// up in the chain.
    ///
    /// # Errors
    /// If bitcoind is unavailable.
    pub async fn scid(&self, point: &OutPoint) -> Result<Option<u64>, ChainError> {
        let own = self.view().own_scid(point);
        match own {
            Some(scid) => Ok(Some(scid)),
            None => self.fundings.scid(point).await,
        }
    }

    /// Looks up funding outputs in the chain, see [`Fundings::points`].
    pub async fn points(&self, scids: impl IntoIterator<Item = u64>) -> HashMap<u64, OutPoint> {
        self.fundings.points(scids).await
    }
}

/// A view of the graph. It holds a read lock, which blocks gossip processing.
pub struct GraphView<'a> {
    graph: ReadOnlyNetworkGraph<'a>,
    /// Our open channels by short channel id.
    own: BTreeMap<u64, ChannelDetails>,
    us: NodeId,
}

impl<'a> GraphView<'a> {
    /// Locks the graph and lists our open channels.
    fn new(graph: &'a NetworkGraph, manager: &ChannelManager) -> Self {
        let channels = manager.list_channels().into_iter();
        let open = channels.filter(|channel| channel.is_channel_ready);
        let own = open.filter_map(|channel| Some((channel.short_channel_id?, channel)));
        Self {
            own: own.collect(),
            graph: graph.read_only(),
            us: NodeId::from_pubkey(&manager.get_our_node_id()),
        }
    }

    /// Returns the channel with this short channel id.
    pub fn edge(&self, scid: u64) -> Option<Edge> {
        match self.graph.channel(scid) {
            Some(info) => Some(self.announced(scid, info)),
            None => self.unannounced().find(|edge| edge.scid == scid),
        }
    }

    /// Returns the short channel id of our channel with this funding outpoint.
    pub fn own_scid(&self, point: &OutPoint) -> Option<u64> {
        let mut own = self.own.iter();
        let own = own.find(|(_, own)| funding(own) == Some(*point));
        own.map(|(scid, _)| *scid)
    }

    /// Returns all announced channels by short channel id.
    pub fn announced_edges(&self) -> impl Iterator<Item = Edge> {
        let mut all: Vec<_> = self.graph.channels().unordered_iter().collect();
        all.sort_by_key(|(scid, _)| **scid);
        all.into_iter()
            .map(|(scid, info)| self.announced(*scid, info))
    }

    /// Returns our channels that are not announced (yet).
    pub fn unannounced(&self) -> impl Iterator<Item = Edge> {
        let own = self.own.iter();
        own.filter(|(scid, _)| self.graph.channel(**scid).is_none())
            .map(|(scid, own)| self.own_edge(*scid, own))
    }

    /// Returns whether the node is in the graph, a channel peer or ourselves.
    pub fn has_node(&self, node: &NodeId) -> bool {
        *node == self.us
            || self.graph.node(node).is_some()
            || self.own.values().any(|own| peer(own) == *node)
    }

    /// Returns the node's announcement, if there is one.
    pub fn announcement(&self, node: &NodeId) -> Option<&NodeAnnouncementInfo> {
        self.graph.node(node)?.announcement_info.as_ref()
    }

    /// Returns the node's announced alias, or an empty string.
    pub fn alias(&self, node: &NodeId) -> String {
        alias(&self.graph, node)
    }

    /// Returns the announced alias of our peer in this channel, or `None` if the channel is unknown.
    pub fn peer_alias(&self, scid: u64) -> Option<String> {
        let edge = self.edge(scid)?;
        let peer = if edge.node_1 == self.us {
            edge.node_2
        } else {
            edge.node_1
        };
        Some(self.alias(&peer))
    }

    /// Returns the announced channels of a node.
    pub fn edges_of(&self, node: &NodeId) -> Vec<Edge> {
        let scids = self.graph.node(node).map(|info: &NodeInfo| &info.channels);
        let infos = scids
            .into_iter()
            .flatten()
            .filter_map(|scid| Some((*scid, self.graph.channel(*scid)?)));
        infos
            .map(|(scid, info)| self.announced(scid, info))
            .collect()
    }

    /// Returns all nodes by node id.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        let announced = self.graph.nodes().unordered_keys().copied();
        announced
            .chain(self.own.values().map(peer))
            .chain([self.us])
            .collect()
    }

    fn announced(&self, scid: u64, info: &ChannelInfo) -> Edge {
        let own = self.own.get(&scid);
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

    fn own_edge(&self, scid: u64, own: &ChannelDetails) -> Edge {
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
        Edge {
            scid,
            point: funding(own),
            capacity_sat: Some(own.channel_value_satoshis),
            node_1,
            node_2,
            policy_1,
            policy_2,
            proof: None,
        }
    }
}

/// Converts a public key to the graph's node id.
pub fn node_id(key: &PublicKey) -> NodeId {
    NodeId::from_pubkey(key)
}

fn alias(graph: &ReadOnlyNetworkGraph<'_>, node: &NodeId) -> String {
    let announced = graph
        .node(node)
        .and_then(|node| node.announcement_info.as_ref());
    announced.map_or_else(String::new, |info| info.alias().to_string())
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
