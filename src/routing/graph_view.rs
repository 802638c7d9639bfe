//! The network graph as shown to API clients: LDK's graph plus our channels missing from it.

use std::collections::HashMap;
use std::sync::Arc;

use bitcoin::OutPoint;
use bitcoin::secp256k1::PublicKey;
use lightning::routing::gossip::{NodeAnnouncementInfo, NodeId, NodeInfo, ReadOnlyNetworkGraph};

use super::edge::Edge;
use super::own_channels::OwnChannels;
use super::whole_graph::WholeGraph;
use crate::chain::{ChainError, Fundings, LookUp};
use crate::ldk::{ChannelManager, NetworkGraph};

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
        GraphView {
            own: OwnChannels::of(&self.manager),
            graph: self.graph.read_only(),
        }
    }

    /// Lists the current channels and nodes, to read all of them.
    pub fn whole(&self) -> WholeGraph<'_> {
        WholeGraph::new(&self.graph, OwnChannels::of(&self.manager))
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

    /// Looks up funding outputs among those that are known, see [`Fundings::look_up`].
    pub fn look_up(&self, scids: impl IntoIterator<Item = u64>) -> LookUp {
        self.fundings.look_up(scids)
    }

    /// Looks up the others in the chain, see [`Fundings::points`].
    pub async fn points(&self, look_up: LookUp) -> HashMap<u64, OutPoint> {
        self.fundings.points(look_up).await
    }
}

/// A view of the graph. It holds a read lock, which blocks gossip processing: to read all of the graph, use
/// [`Graph::whole`].
pub struct GraphView<'a> {
    graph: ReadOnlyNetworkGraph<'a>,
    own: OwnChannels,
}

impl GraphView<'_> {
    /// Returns the channel with this short channel id.
    pub fn edge(&self, scid: u64) -> Option<Edge> {
        match self.graph.channel(scid) {
            Some(info) => Some(self.own.announced(scid, info)),
            None => self.own.edge(scid),
        }
    }

    /// Returns the short channel id of our channel with this funding outpoint.
    pub fn own_scid(&self, point: &OutPoint) -> Option<u64> {
        self.own.scid(point)
    }

    /// Returns our channels that are not announced (yet).
    pub fn unannounced(&self) -> impl Iterator<Item = Edge> {
        let scids = self.own.scids();
        scids
            .filter(|scid| self.graph.channel(*scid).is_none())
            .filter_map(|scid| self.own.edge(scid))
    }

    /// Returns whether the node is in the graph, a channel peer or ourselves.
    pub fn has_node(&self, node: &NodeId) -> bool {
        self.graph.node(node).is_some() || self.own.nodes().any(|own| own == *node)
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
        let peer = if edge.node_1 == self.own.us() {
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
            .map(|(scid, info)| self.own.announced(scid, info))
            .collect()
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
