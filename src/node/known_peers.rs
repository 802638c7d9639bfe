//! What is known about peers that request a channel.

use std::net::IpAddr;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::routing::gossip::NodeId;

use crate::channels::inbound;
use crate::ldk::{ChannelManager, NetworkGraph};
use crate::peers::PeerManager;
use crate::peers::address::ip_address;

/// Looks up peers by connection, channels and graph.
pub(super) struct KnownPeers {
    pub(super) peers: Arc<PeerManager>,
    pub(super) manager: Arc<ChannelManager>,
    pub(super) graph: Arc<NetworkGraph>,
    /// Whether announced channels are checked against the chain. If not, they may be forged.
    pub(super) graph_is_verified: bool,
}

impl inbound::KnownPeers for KnownPeers {
    fn address(&self, peer: &PublicKey) -> Option<IpAddr> {
        let peer = self.peers.peer_by_node_id(peer)?;
        ip_address(peer.socket_address.as_ref()?).map(|address| address.ip())
    }

    fn is_connected(&self, peer: &PublicKey) -> bool {
        self.peers.peer_by_node_id(peer).is_some()
    }

    fn has_paid(&self, peer: &PublicKey) -> bool {
        let ours = self.manager.list_channels_with_counterparty(peer);
        let confirmed = ours.iter().any(|one| one.confirmations.unwrap_or(0) > 0);
        confirmed || (self.graph_is_verified && self.is_announced(peer))
    }
}

impl KnownPeers {
    fn is_announced(&self, peer: &PublicKey) -> bool {
        let graph = self.graph.read_only();
        let node = graph.node(&NodeId::from_pubkey(peer));
        node.is_some_and(|node| !node.channels.is_empty())
    }
}
