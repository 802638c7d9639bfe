//! In-memory LDK nodes whose peer messages go through gateways.

use std::cell::Cell;

use ampd::onion::{EnvelopeKey, Gateway};
use lightning::events::Event;
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::ln::functional_test_utils::{Node, TestChannelManager};
use lightning::ln::msgs::{ChannelMessageHandler, MessageSendEvent};
use lightning::routing::router::{Path, Route, RouteHop};
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::types::payment::PaymentHash;
use lightning::util::test_utils::TestKeysInterface;

pub type TestGateway<'a, 'b, 'c> = Gateway<&'a TestChannelManager<'b, 'c>, &'c TestKeysInterface>;

/// Makes `$count` connected nodes, without channels.
#[macro_export]
macro_rules! nodes {
    ($nodes:ident, $count:expr) => {
        let monitors = create_chanmon_cfgs($count);
        let configs = create_node_cfgs($count, &monitors);
        let managers = create_node_chanmgrs($count, &configs, &[const { None }; $count]);
        let $nodes = create_network($count, &configs, &managers);
    };
}

/// Delivers what the nodes have for each other.
pub struct Network<'n, 'a, 'b, 'c> {
    pub nodes: &'n [Node<'a, 'b, 'c>],
    pub gateways: Vec<TestGateway<'a, 'b, 'c>>,
    /// Without them the nodes are stock LDK.
    pub use_gateways: Cell<bool>,
}

impl<'n, 'a, 'b, 'c> Network<'n, 'a, 'b, 'c> {
    pub fn new(nodes: &'n [Node<'a, 'b, 'c>]) -> Self {
        let gateway = |(i, node): (usize, &Node<'a, 'b, 'c>)| {
            Gateway::new(node.node, node.keys_manager, envelope_key(i))
        };
        let gateways = nodes.iter().enumerate().map(gateway).collect();
        Self {
            nodes,
            gateways,
            use_gateways: Cell::new(true),
        }
    }

    fn handler(&self, i: usize) -> &dyn ChannelMessageHandler {
        match self.use_gateways.get() {
            true => &self.gateways[i],
            false => self.nodes[i].node,
        }
    }

    /// Delivers messages and processes HTLCs until nothing moves any more.
    pub fn settle_down(&self) {
        loop {
            let mut quiet = true;
            for (i, node) in self.nodes.iter().enumerate() {
                node.node.process_pending_htlc_forwards();
                for event in self.handler(i).get_and_clear_pending_msg_events() {
                    quiet &= !self.deliver(i, event);
                }
                node.chain_monitor.added_monitors.lock().unwrap().clear();
            }
            if quiet
                && self
                    .nodes
                    .iter()
                    .all(|node| !node.node.needs_pending_htlc_processing())
            {
                return;
            }
        }
    }

    /// What `from` sends reaches its peer. False if the event is no message between these peers.
    fn deliver(&self, from: usize, event: MessageSendEvent) -> bool {
        let sender = self.nodes[from].node.get_our_node_id();
        let peer = |id| {
            let position = self
                .nodes
                .iter()
                .position(|node| node.node.get_our_node_id() == id);
            self.handler(position.unwrap())
        };
        match event {
            MessageSendEvent::UpdateHTLCs {
                node_id, updates, ..
            } => {
                let peer = peer(node_id);
                for add in &updates.update_add_htlcs {
                    peer.handle_update_add_htlc(sender, add);
                }
                for fulfill in updates.update_fulfill_htlcs {
                    peer.handle_update_fulfill_htlc(sender, fulfill);
                }
                for fail in &updates.update_fail_htlcs {
                    peer.handle_update_fail_htlc(sender, fail);
                }
                for malformed in &updates.update_fail_malformed_htlcs {
                    peer.handle_update_fail_malformed_htlc(sender, malformed);
                }
                peer.handle_commitment_signed_batch_test(sender, &updates.commitment_signed);
            }
            MessageSendEvent::SendRevokeAndACK { node_id, msg } => {
                peer(node_id).handle_revoke_and_ack(sender, &msg);
            }
            MessageSendEvent::SendChannelReestablish { node_id, msg } => {
                peer(node_id).handle_channel_reestablish(sender, &msg);
            }
            _ => return false,
        }
        true
    }

    /// The events of one node, with those that follow from having handled them.
    pub fn events(&self, i: usize) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let more = self.nodes[i].node.get_and_clear_pending_events();
            if more.is_empty() {
                return events;
            }
            events.extend(more);
            self.settle_down();
        }
    }

    /// Sends `amount_msat` from the first node over the given nodes and channels.
    pub fn send(
        &self,
        hops: &[(usize, u64)],
        amount_msat: u64,
        hash: PaymentHash,
        onion: RecipientOnionFields,
        id: PaymentId,
    ) {
        let hop = |(position, (node, scid)): (usize, &(usize, u64))| {
            let last = position + 1 == hops.len();
            RouteHop {
                pubkey: self.nodes[*node].node.get_our_node_id(),
                node_features: NodeFeatures::empty(),
                short_channel_id: *scid,
                channel_features: ChannelFeatures::empty(),
                fee_msat: if last { amount_msat } else { 2_000 },
                cltv_expiry_delta: 100,
                maybe_announced_channel: true,
            }
        };
        let hops = hops.iter().enumerate().map(hop).collect();
        let paths = vec![Path {
            hops,
            blinded_tail: None,
        }];
        let route = Route {
            paths,
            route_params: None,
        };
        self.nodes[0]
            .node
            .send_payment_with_route(route, hash, onion, id)
            .unwrap();
        self.settle_down();
    }
}

/// Each node has a key of its own.
pub fn envelope_key(i: usize) -> EnvelopeKey {
    EnvelopeKey::from_seed(&[i as u8; 32])
}
