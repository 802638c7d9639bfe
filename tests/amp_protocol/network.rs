//! In-memory LDK nodes whose peer messages go through gateways.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use ampd::channel_messages::ChannelMessages;
use bitcoin::secp256k1::PublicKey;
use ldk_amp::{EnvelopeKey, Gateway};
use lightning::events::Event;
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::ln::functional_test_utils::{
    Node, TestChannelManager, connect_blocks, create_announced_chan_between_nodes_with_value,
    create_chanmon_cfgs, create_network, create_node_cfgs, create_node_chanmgrs,
    test_default_channel_config,
};
use lightning::ln::msgs::{ChannelMessageHandler, Init, MessageSendEvent, UpdateFailHTLC};
use lightning::ln::types::ChannelId;
use lightning::routing::router::{Path, Route, RouteHop};
use lightning::sign::{NodeSigner, Recipient};
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::types::payment::PaymentHash;
use lightning::util::config::UserConfig;
use lightning::util::test_utils::TestKeysInterface;

use crate::answers::Answer;

pub(crate) type TestNode = Node<'static, 'static, 'static>;
pub(crate) type TestManager = TestChannelManager<'static, 'static>;
pub(crate) type TestGateway = Gateway<&'static TestManager, &'static TestKeysInterface>;
pub(crate) type TestHandler = ChannelMessages<Arc<TestGateway>>;

/// The default number of blocks until the receiver's HTLC expires.
pub(crate) const FINAL_DELTA: u32 = 100;

/// A network of nodes; delivers their messages to each other.
pub(crate) struct Network {
    pub nodes: Vec<TestNode>,
    pub gateways: Vec<Arc<TestGateway>>,
    /// What the peers' messages pass before the gateways.
    pub handlers: Vec<Arc<TestHandler>>,
    /// If false, the nodes run unmodified LDK without gateways.
    pub use_gateways: Cell<bool>,
    /// All failures delivered so far.
    pub failures: RefCell<Vec<UpdateFailHTLC>>,
    /// Replaces every failure that this node sends.
    pub answer: RefCell<Option<(usize, Answer)>>,
    /// The ephemeral keys of all HTLCs delivered so far.
    ephemeral_keys: RefCell<HashMap<(ChannelId, u64), PublicKey>>,
}

/// An HTLC to send.
pub(crate) struct Outgoing<'a> {
    pub from: usize,
    /// The nodes after the sender and the channels to them; the last node is the receiver.
    pub hops: &'a [(usize, u64)],
    pub amount_msat: u64,
    /// Blocks until the receiver's HTLC expires, counted from the next block.
    pub final_delta: u32,
    pub hash: PaymentHash,
    pub onion: RecipientOnionFields,
    pub id: PaymentId,
}

impl Network {
    /// Creates connected nodes without channels.
    pub(crate) fn new(count: usize) -> Self {
        Self::with_handlers(count, |_, _, handler| handler)
    }

    /// Like [`Network::new`], with `set` configuring each handler.
    pub(crate) fn with_handlers(
        count: usize,
        set: impl Fn(usize, &TestNode, TestHandler) -> TestHandler,
    ) -> Self {
        Self::of(nodes(count, None), set)
    }

    /// Like [`Network::new`], but channels become usable after `depth` confirmations.
    pub(crate) fn with_minimum_depth(count: usize, depth: u32) -> Self {
        let mut config = test_default_channel_config();
        config.channel_handshake_config.minimum_depth = depth;
        Self::of(nodes(count, Some(config)), |_, _, handler| handler)
    }

    fn of(
        nodes: Vec<TestNode>,
        set: impl Fn(usize, &TestNode, TestHandler) -> TestHandler,
    ) -> Self {
        let gateway = |(i, node): (usize, &TestNode)| {
            let gateway = Gateway::new(node.node, node.keys_manager, envelope_key(i));
            Arc::new(gateway)
        };
        let gateways: Vec<_> = nodes.iter().enumerate().map(gateway).collect();
        let handler = |(i, node): (usize, &TestNode)| {
            let manager = node.node;
            let handler = ChannelMessages::new(Arc::clone(&gateways[i]))
                .knowing_channels(move |peer| manager.list_channels_with_counterparty(peer));
            Arc::new(set(i, node, handler))
        };
        let handlers = nodes.iter().enumerate().map(handler).collect();
        Self {
            nodes,
            gateways,
            handlers,
            use_gateways: Cell::new(true),
            failures: RefCell::default(),
            answer: RefCell::default(),
            ephemeral_keys: RefCell::default(),
        }
    }

    /// Opens a channel between two nodes and returns its short channel id.
    pub(crate) fn channel(&self, a: usize, b: usize) -> u64 {
        self.channel_of(a, b, 100_000)
    }

    /// Opens a channel of `sat`, nearly all on the first node's side. LDK's test nodes allow a tenth of a
    /// channel to be in flight.
    pub(crate) fn channel_of(&self, a: usize, b: usize, sat: u64) -> u64 {
        let nodes = &self.nodes;
        let (update, ..) = create_announced_chan_between_nodes_with_value(nodes, a, b, sat, 10_001);
        // Only these two have seen the confirming blocks.
        for node in &self.nodes {
            let missing = self.height() - node.best_block_info().1;
            if missing > 0 {
                connect_blocks(node, missing);
            }
        }
        update.contents.short_channel_id
    }

    pub(crate) fn height(&self) -> u32 {
        let heights = self.nodes.iter().map(|node| node.best_block_info().1);
        heights.max().unwrap()
    }

    /// Connects this many empty blocks to every node.
    pub(crate) fn mine(&self, blocks: u32) {
        for node in &self.nodes {
            connect_blocks(node, blocks);
        }
        self.run_until_idle();
    }

    fn handler(&self, i: usize) -> &dyn ChannelMessageHandler {
        match self.use_gateways.get() {
            true => &*self.handlers[i],
            false => self.nodes[i].node,
        }
    }

    /// Disconnects two nodes; messages in flight between them are lost.
    pub(crate) fn disconnect(&self, a: usize, b: usize) {
        for (node, other) in [(a, b), (b, a)] {
            self.handler(node).peer_disconnected(self.id(other));
        }
    }

    /// Reconnects two nodes.
    pub(crate) fn reconnect(&self, a: usize, b: usize) {
        for (node, other, inbound) in [(a, b, true), (b, a, false)] {
            let init = Init {
                features: self.nodes[other].node.init_features(),
                networks: None,
                remote_network_address: None,
            };
            let handler = self.handler(node);
            handler
                .peer_connected(self.id(other), &init, inbound)
                .unwrap();
        }
        self.run_until_idle();
    }

    pub(crate) fn id(&self, node: usize) -> PublicKey {
        self.nodes[node].node.get_our_node_id()
    }

    /// Delivers messages and processes HTLCs until all nodes are idle.
    pub(crate) fn run_until_idle(&self) {
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

    /// Delivers a message of `from` to its peer. Returns false if the event is not a message between peers.
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
                    let ephemeral_key = add.onion_routing_packet.public_key.unwrap();
                    let id = (add.channel_id, add.htlc_id);
                    self.ephemeral_keys.borrow_mut().insert(id, ephemeral_key);
                    peer.handle_update_add_htlc(sender, add);
                }
                for fulfill in updates.update_fulfill_htlcs {
                    peer.handle_update_fulfill_htlc(sender, fulfill);
                }
                for fail in &updates.update_fail_htlcs {
                    peer.handle_update_fail_htlc(sender, &self.answered(from, fail));
                }
                self.failures.borrow_mut().extend(updates.update_fail_htlcs);
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

    /// Returns the failure, replaced if [`Network::answer`] is set for this node.
    fn answered(&self, from: usize, failure: &UpdateFailHTLC) -> UpdateFailHTLC {
        match &*self.answer.borrow() {
            Some((node, answer)) if *node == from => {
                let id = (failure.channel_id, failure.htlc_id);
                let ephemeral_key = self.ephemeral_keys.borrow()[&id];
                let signer = self.nodes[from].keys_manager;
                let secret = signer.ecdh(Recipient::Node, &ephemeral_key, None).unwrap();
                answer.replace(failure, &secret.secret_bytes())
            }
            _ => failure.clone(),
        }
    }

    /// Returns the events of one node, including follow-up events.
    pub(crate) fn events(&self, i: usize) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let more = self.nodes[i].node.get_and_clear_pending_events();
            if more.is_empty() {
                return events;
            }
            events.extend(more);
            self.run_until_idle();
        }
    }

    /// Sends `amount_msat` from the first node over the given nodes and channels.
    pub(crate) fn send(
        &self,
        hops: &[(usize, u64)],
        amount_msat: u64,
        hash: PaymentHash,
        onion: RecipientOnionFields,
        id: PaymentId,
    ) {
        self.send_htlc(Outgoing {
            from: 0,
            hops,
            amount_msat,
            final_delta: FINAL_DELTA,
            hash,
            onion,
            id,
        });
    }

    pub(crate) fn send_htlc(&self, htlc: Outgoing<'_>) {
        let hop = |(position, (node, scid)): (usize, &(usize, u64))| {
            let last = position + 1 == htlc.hops.len();
            RouteHop {
                pubkey: self.nodes[*node].node.get_our_node_id(),
                node_features: NodeFeatures::empty(),
                short_channel_id: *scid,
                channel_features: ChannelFeatures::empty(),
                fee_msat: if last { htlc.amount_msat } else { 2_000 },
                cltv_expiry_delta: if last { htlc.final_delta } else { 100 },
                maybe_announced_channel: true,
            }
        };
        let hops = htlc.hops.iter().enumerate().map(hop).collect();
        let paths = vec![Path {
            hops,
            blinded_tail: None,
        }];
        let route = Route {
            paths,
            route_params: None,
        };
        self.nodes[htlc.from]
            .node
            .send_payment_with_route(route, htlc.hash, htlc.onion, htlc.id)
            .unwrap();
        self.run_until_idle();
    }
}

/// Creates LDK's test nodes. They borrow their resources, but the registry needs `'static` ones, so the
/// resources are leaked: a few per test.
fn nodes(count: usize, config: Option<UserConfig>) -> Vec<TestNode> {
    let monitors = Box::leak(Box::new(create_chanmon_cfgs(count)));
    let configs = Box::leak(Box::new(create_node_cfgs(count, monitors)));
    let defaults = vec![config; count];
    let managers = Box::leak(Box::new(create_node_chanmgrs(count, configs, &defaults)));
    create_network(count, configs, managers)
}

/// Returns the node's own envelope key.
pub(crate) fn envelope_key(i: usize) -> EnvelopeKey {
    EnvelopeKey::from_seed(&[i as u8; 32])
}
