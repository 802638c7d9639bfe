//! A Lightning network in memory for the examples: LDK nodes without disk, sockets and bitcoind.
//!
//! [`Node::new`] wires LDK as any node does; only `chan_handler` differs because of AMP. LDK's own
//! test network (`lightning::ln::functional_test_utils`) would be shorter, but prints LDK's log.

#![allow(
    clippy::arc_with_non_send_sync,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "one thread, and an example may end with a panic"
)]
#![allow(dead_code)] // Only one of the examples uses `Node::gateway`.

use std::error::Error;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{
    Amount, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Txid, Witness, transaction,
};
use ldk_amp::{EnvelopeKey, Gateway};
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::chain::chainmonitor::{ChainMonitor, Persist};
use lightning::chain::channelmonitor::{ChannelMonitor, ChannelMonitorUpdate};
use lightning::chain::{BestBlock, ChannelMonitorUpdateStatus, Filter, Listen};
use lightning::events::{Event, EventsProvider};
use lightning::ln::channelmanager::{ChainParameters, SimpleArcChannelManager};
use lightning::ln::peer_handler::{
    IgnoringMessageHandler, MessageHandler, PeerManager, SocketDescriptor,
};
use lightning::onion_message::messenger::DefaultMessageRouter;
use lightning::routing::gossip::{NetworkGraph, P2PGossipSync};
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::ProbabilisticScorer;
use lightning::routing::utxo::UtxoLookup;
use lightning::sign::{InMemorySigner, KeysManager, NodeSigner};
use lightning::util::config::UserConfig;
use lightning::util::logger::{Logger, Record};
use lightning::util::persist::MonitorName;

type Graph = NetworkGraph<Arc<Nothing>>;
type Gossip = P2PGossipSync<Arc<Graph>, Arc<dyn UtxoLookup>, Arc<Nothing>>;
type Monitors = ChainMonitor<
    InMemorySigner,
    Arc<dyn Filter>,
    Arc<Nothing>,
    Arc<Nothing>,
    Arc<Nothing>,
    Arc<Nothing>,
    Arc<KeysManager>,
>;
type Manager = SimpleArcChannelManager<Monitors, Nothing, Nothing, Nothing>;
type Peers = PeerManager<
    Wire,
    Arc<Gateway<Arc<Manager>, Arc<KeysManager>>>,
    Arc<Gossip>,
    IgnoringMessageHandler,
    Arc<Nothing>,
    IgnoringMessageHandler,
    Arc<KeysManager>,
    Arc<Monitors>,
>;

/// A Lightning node that can receive AMP.
pub(crate) struct Node {
    pub id: PublicKey,
    pub manager: Arc<Manager>,
    pub gateway: Arc<Gateway<Arc<Manager>, Arc<KeysManager>>>,
    pub envelope_key: EnvelopeKey,
    monitors: Arc<Monitors>,
    peers: Peers,
}

impl Node {
    fn new(seed: [u8; 32], graph: &Arc<Graph>, base_fee_msat: u32) -> Self {
        let nothing = Arc::new(Nothing);
        let keys = Arc::new(KeysManager::new(&seed, now(), 0, true));
        let scorer = ProbabilisticScorer::new(Default::default(), graph.clone(), nothing.clone());
        let router = DefaultRouter::new(
            graph.clone(),
            nothing.clone(),
            keys.clone(),
            Arc::new(RwLock::new(scorer)),
            Default::default(),
        );
        let monitors = Arc::new(ChainMonitor::new(
            None,
            nothing.clone(),
            nothing.clone(),
            nothing.clone(),
            nothing.clone(),
            keys.clone(),
            keys.get_peer_storage_key(),
        ));
        let mut config = UserConfig::default();
        config.channel_handshake_config.announce_for_forwarding = true;
        config.channel_config.forwarding_fee_base_msat = base_fee_msat;
        let network = bitcoin::Network::Regtest;
        let manager = Arc::new(Manager::new(
            nothing.clone(),
            monitors.clone(),
            nothing.clone(),
            Arc::new(router),
            Arc::new(DefaultMessageRouter::new(graph.clone(), keys.clone())),
            nothing.clone(),
            keys.clone(),
            keys.clone(),
            keys.clone(),
            config,
            ChainParameters {
                network,
                best_block: BestBlock::from_network(network),
            },
            now() as u32,
        ));

        // AMP: messages of peers pass the gateway before they reach the channel manager.
        // The key must be the same after a restart.
        let envelope_key = EnvelopeKey::from_seed(&seed);
        let gateway = Gateway::new(manager.clone(), keys.clone(), envelope_key.clone());
        let gateway = Arc::new(gateway);
        let handlers = MessageHandler {
            chan_handler: gateway.clone(), // without AMP: manager.clone()
            route_handler: Arc::new(P2PGossipSync::new(graph.clone(), None, nothing.clone())),
            onion_message_handler: IgnoringMessageHandler {},
            custom_message_handler: IgnoringMessageHandler {},
            send_only_message_handler: monitors.clone(),
        };
        Self {
            id: manager.get_our_node_id(),
            peers: PeerManager::new(handlers, now() as u32, &random(), nothing, keys),
            manager,
            gateway,
            envelope_key,
            monitors,
        }
    }

    /// Takes LDK's pending events.
    pub(crate) fn events(&self) -> Vec<Event> {
        let events = Mutex::new(Vec::new());
        self.manager.process_pending_events(&|event| {
            events.lock().unwrap().push(event);
            Ok(())
        });
        events.into_inner().unwrap()
    }
}

/// Nodes that are connected to each other and see the same chain.
pub(crate) struct Network {
    pub nodes: Vec<Node>,
    wires: Vec<[Wire; 2]>,
    tip: BestBlock,
}

impl Network {
    /// Starts one node for each base fee (in msat, for forwarding a payment).
    pub(crate) fn new(base_fees_msat: &[u32]) -> Self {
        let chain = bitcoin::Network::Regtest;
        let graph = Arc::new(NetworkGraph::new(chain, Arc::new(Nothing)));
        let node = |fee: &u32| Node::new(random(), &graph, *fee);
        Self {
            nodes: base_fees_msat.iter().map(node).collect(),
            wires: Vec::new(),
            tip: BestBlock::from_network(chain),
        }
    }

    /// Opens a channel of `sat`, of which `push_sat` go to the peer at once.
    pub(crate) fn open_channel(
        &mut self,
        opener: usize,
        peer: usize,
        sat: u64,
        push_sat: u64,
    ) -> Result<(), Box<dyn Error>> {
        self.connect(opener, peer)?;
        let (manager, peer_id) = (self.nodes[opener].manager.clone(), self.nodes[peer].id);
        let opened = manager.create_channel(peer_id, sat, push_sat * 1_000, 0, None, None);
        opened.map_err(|error| format!("{error:?}"))?;
        self.run();
        let events = self.nodes[opener].events();
        let [
            Event::FundingGenerationReady {
                temporary_channel_id,
                output_script,
                ..
            },
        ] = &events[..]
        else {
            return Err(format!("the channel was refused: {events:?}").into());
        };
        let funding = funding(self.wires.len() as u32, sat, output_script);
        let funded =
            manager.funding_transaction_generated(*temporary_channel_id, peer_id, funding.clone());
        funded.map_err(|error| format!("{error:?}"))?;
        self.run();
        // Six confirmations, after which the channel is announced.
        self.mine(&[(1, &funding)]);
        (1..6).for_each(|_| self.mine(&[]));
        for node in [opener, peer] {
            // ChannelPending and ChannelReady.
            self.nodes[node].events();
        }
        Ok(())
    }

    /// Delivers messages until no node has anything left to do. Events remain to be handled.
    pub(crate) fn run(&self) {
        loop {
            for node in &self.nodes {
                node.manager.process_pending_htlc_forwards();
                node.peers.process_events();
            }
            let mut idle = true;
            for [there, back] in &self.wires {
                idle &= !self.deliver(there, back) & !self.deliver(back, there);
            }
            let busy = |node: &Node| node.manager.needs_pending_htlc_processing();
            if idle && !self.nodes.iter().any(busy) {
                return;
            }
        }
    }

    /// Passes on what was written to `wire`. Returns false if that is nothing.
    fn deliver(&self, wire: &Wire, back: &Wire) -> bool {
        let bytes = std::mem::take(&mut *wire.bytes.lock().unwrap());
        let peers = &self.nodes[wire.to].peers;
        if !bytes.is_empty() {
            peers
                .read_event(&mut back.clone(), &bytes)
                .expect("valid messages");
        }
        !bytes.is_empty()
    }

    fn connect(&mut self, a: usize, b: usize) -> Result<(), Box<dyn Error>> {
        let wire = |from, to| Wire {
            from,
            to,
            bytes: Arc::default(),
        };
        let [there, back] = [wire(a, b), wire(b, a)];
        let peers = |node: usize| &self.nodes[node].peers;
        let failed = |_| "the nodes cannot connect";
        let hello = peers(a).new_outbound_connection(self.nodes[b].id, there.clone(), None);
        there.bytes.lock().unwrap().extend(hello.map_err(failed)?);
        peers(b)
            .new_inbound_connection(back.clone(), None)
            .map_err(failed)?;
        self.wires.push([there, back]);
        self.run();
        Ok(())
    }

    /// Mines a block with these transactions.
    fn mine(&mut self, transactions: &[(usize, &Transaction)]) {
        let header = Header {
            version: Version::TWO,
            prev_blockhash: self.tip.block_hash,
            merkle_root: TxMerkleNode::all_zeros(),
            time: now() as u32,
            bits: CompactTarget::default(),
            nonce: 0,
        };
        self.tip = BestBlock::new(header.block_hash(), self.tip.height + 1);
        for node in &self.nodes {
            let height = self.tip.height;
            node.monitors
                .filtered_block_connected(&header, transactions, height);
            node.manager
                .filtered_block_connected(&header, transactions, height);
        }
        self.run();
    }
}

/// One direction of a connection: what was sent and not delivered.
#[derive(Clone)]
struct Wire {
    from: usize,
    to: usize,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl SocketDescriptor for Wire {
    fn send_data(&mut self, data: &[u8], _continue_read: bool) -> usize {
        self.bytes.lock().unwrap().extend(data);
        data.len()
    }

    fn disconnect_socket(&mut self) {}
}

impl PartialEq for Wire {
    fn eq(&self, other: &Self) -> bool {
        (self.from, self.to) == (other.from, other.to)
    }
}

impl Eq for Wire {}

impl Hash for Wire {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.from, self.to).hash(state);
    }
}

/// The surroundings of a node that lives in memory: no log, no disk, no mempool and the lowest fee.
pub(crate) struct Nothing;

impl Logger for Nothing {
    fn log(&self, _record: Record) {}
}

impl BroadcasterInterface for Nothing {
    fn broadcast_transactions(&self, _transactions: &[&Transaction]) {}
}

impl FeeEstimator for Nothing {
    fn get_est_sat_per_1000_weight(&self, _target: ConfirmationTarget) -> u32 {
        253
    }
}

impl Persist<InMemorySigner> for Nothing {
    fn persist_new_channel(
        &self,
        _name: MonitorName,
        _monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn update_persisted_channel(
        &self,
        _name: MonitorName,
        _update: Option<&ChannelMonitorUpdate>,
        _monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn archive_persisted_channel(&self, _name: MonitorName) {}
}

/// Returns a transaction with the channel's output. No node here checks its input.
fn funding(number: u32, sat: u64, script: &ScriptBuf) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::all_zeros(), number),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[1]]),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: script.clone(),
        }],
    }
}

/// Returns random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// Returns the Unix time in seconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs()
}
