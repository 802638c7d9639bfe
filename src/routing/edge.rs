//! A channel of the network graph, as shown to API clients.

use bitcoin::OutPoint;
use bitcoin::secp256k1::ecdsa::Signature;
use lightning::routing::gossip::NodeId;

use super::forwarding_terms::ForwardingTerms;

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
