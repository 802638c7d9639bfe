//! A paying node of the network, with ampd's payments module, router and store.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ampd::ldk::{KeysManager, NetworkGraph};
use ampd::logging::ldk::LdkLogger;
use ampd::node::ManagerOutboundHtlcs;
use ampd::payments::{Limits, Method, NewPayment, PaymentView, Payments, SendError};
use ampd::routing::RouteFinder;
use ampd::routing::graph::{Utxos, read_or_new_scorer};
use ampd::storage::Store;
use bitcoin::Network as Chain;
use bitcoin::constants::ChainHash;
use lightning::events::Event;
use lightning::ln::channel_state::OutboundHTLCDetails;
use lightning::ln::msgs::{UnsignedChannelAnnouncement, UnsignedChannelUpdate};
use lightning::routing::gossip::NodeId;
use lightning::types::features::ChannelFeatures;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::network::{Network, TestManager};

/// How long to wait for a change of the payment before running the network again.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A channel's routing policy as the payer knows it.
#[derive(Clone, Copy)]
pub(crate) struct Policy {
    pub fee_base_msat: u32,
    /// CLTV delta in blocks.
    pub cltv_delta: u16,
}

pub(crate) struct Payer {
    manager: &'static TestManager,
    graph: Arc<NetworkGraph>,
    runtime: Runtime,
    directory: TempDir,
    store: Arc<Store>,
    payments: Arc<Payments>,
}

impl Payer {
    pub(crate) fn new(network: &Network, node: usize) -> Self {
        let manager = network.nodes[node].node;
        let graph = NetworkGraph::new(Chain::Testnet, Arc::new(LdkLogger));
        let graph = Arc::new(graph);
        let runtime = runtime();
        let directory = TempDir::new().unwrap();
        let (store, payments) = open(&directory, &runtime, manager, &graph);
        Self {
            manager,
            graph,
            runtime,
            directory,
            store,
            payments,
        }
    }

    /// Closes and reopens the store, as if everything but LDK had crashed.
    pub(crate) fn restart(&mut self) {
        // Stop the tasks as well: a payment waiting to retry must not run next to its restored copy.
        let before = std::mem::replace(&mut self.runtime, runtime());
        before.shutdown_timeout(Duration::from_secs(60));
        self.store.close().unwrap();
        let opened = open(&self.directory, &self.runtime, self.manager, &self.graph);
        (self.store, self.payments) = opened;
        let unfinished = self.payments.restore().unwrap();
        self.payments.resume(unfinished);
    }

    /// Adds a channel between other nodes to the payer's graph.
    pub(crate) fn learn_channel(
        &self,
        network: &Network,
        scid: u64,
        ends: [usize; 2],
        policy: Policy,
    ) {
        let id = |node: usize| NodeId::from_pubkey(&network.nodes[node].node.get_our_node_id());
        let mut nodes = ends.map(id);
        nodes.sort();
        let chain_hash = ChainHash::using_genesis_block(Chain::Testnet);
        let announcement = UnsignedChannelAnnouncement {
            features: ChannelFeatures::empty(),
            chain_hash,
            short_channel_id: scid,
            node_id_1: nodes[0],
            node_id_2: nodes[1],
            bitcoin_key_1: nodes[0],
            bitcoin_key_2: nodes[1],
            excess_data: Vec::new(),
        };
        let unchecked: Option<&Utxos> = None;
        let graph = &self.graph;
        graph
            .update_channel_from_unsigned_announcement(&announcement, &unchecked)
            .unwrap();
        self.learn_policy(scid, policy, 1);
    }

    /// Sets the policy of both ends of a known channel. Only newer timestamps take effect.
    pub(crate) fn learn_policy(&self, scid: u64, policy: Policy, timestamp: u32) {
        self.learn_policy_with_minimum(scid, policy, timestamp, 1);
    }

    /// Sets the policy of both ends of a known channel, including its `htlc_minimum_msat`.
    pub(crate) fn learn_policy_with_minimum(
        &self,
        scid: u64,
        policy: Policy,
        timestamp: u32,
        htlc_minimum_msat: u64,
    ) {
        for channel_flags in [0, 1] {
            let update = UnsignedChannelUpdate {
                chain_hash: ChainHash::using_genesis_block(Chain::Testnet),
                short_channel_id: scid,
                timestamp,
                message_flags: 1,
                channel_flags,
                cltv_expiry_delta: policy.cltv_delta,
                htlc_minimum_msat,
                htlc_maximum_msat: 100_000_000,
                fee_base_msat: policy.fee_base_msat,
                fee_proportional_millionths: 0,
                excess_data: Vec::new(),
            };
            self.graph.update_channel_unsigned(&update).unwrap();
        }
    }

    pub(crate) fn start(
        &self,
        payment: NewPayment,
    ) -> Result<watch::Receiver<PaymentView>, SendError> {
        self.runtime.block_on(self.payments.send(payment))
    }

    pub(crate) fn track(&self, identifier: &[u8; 32]) -> watch::Receiver<PaymentView> {
        self.payments.track(identifier).unwrap().unwrap()
    }

    /// Waits briefly for a change of the payment.
    pub(crate) fn wait_for_change(&self, views: &mut watch::Receiver<PaymentView>) {
        self.runtime.block_on(async {
            let _ = tokio::time::timeout(POLL_INTERVAL, views.changed()).await;
        });
    }

    /// Returns the outgoing HTLCs in flight.
    pub(crate) fn outgoing(&self) -> Vec<OutboundHTLCDetails> {
        let channels = self.manager.list_channels().into_iter();
        channels
            .flat_map(|channel| channel.pending_outbound_htlcs)
            .collect()
    }

    /// Handles an event as `node::events` does.
    pub(crate) fn handle(&self, event: Event) {
        if let Some(other) = self.payments.handle(event) {
            panic!("unexpected event of the payer: {other:?}");
        }
    }
}

fn runtime() -> Runtime {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().unwrap()
}

fn open(
    directory: &TempDir,
    runtime: &Runtime,
    manager: &'static TestManager,
    graph: &Arc<NetworkGraph>,
) -> (Arc<Store>, Arc<Payments>) {
    let _inside = runtime.enter();
    let logger = Arc::new(LdkLogger);
    let store = Arc::new(Store::open(directory.path()).unwrap());
    // The time makes randomness differ after a restart.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let keys = KeysManager::new(&[8; 32], since.as_secs(), since.subsec_nanos(), true);
    let keys = Arc::new(keys);
    let scorer = Arc::new(read_or_new_scorer(None, graph, &logger));
    let id = manager.get_our_node_id();
    let finder = RouteFinder::new(graph.clone(), scorer, keys.clone(), logger, id);
    let outbound = Arc::new(ManagerOutboundHtlcs::new(manager, finder, keys, id));
    let payments = Payments::new(store.clone(), outbound, runtime.handle().clone());
    (store, payments.unwrap())
}

/// Returns a payment to this node with up to 16 parts, a generous fee limit and a timeout of one minute.
pub(crate) fn payment(
    network: &Network,
    to: usize,
    amount_msat: u64,
    method: Method,
) -> NewPayment {
    NewPayment {
        destination: network.nodes[to].node.get_our_node_id(),
        amount_msat,
        final_cltv_delta: 80,
        method,
        invoice: None,
        route_hints: Vec::new(),
        custom_records: Default::default(),
        allow_self_payment: false,
        limits: Limits {
            fee_limit_msat: 100_000,
            timeout_seconds: 60,
            max_parts: 16,
            max_shard_msat: 0,
            cltv_limit: 0,
            outgoing_channels: Vec::new(),
            last_hop: None,
        },
    }
}
