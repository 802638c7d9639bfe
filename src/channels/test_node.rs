//! A whole node in memory for tests: LDK with our types, loopback sockets, a chain that we mine.
//!
//! Only what costs disk or a bitcoind is left out: the store says "written" at once, and the
//! wallet's coins are made up (nothing checks inputs here).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Block, Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{
    Amount, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Txid, Witness,
};
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget};
use lightning::chain::chainmonitor::Persist;
use lightning::chain::channelmonitor::ChannelMonitorUpdate;
use lightning::chain::{BestBlock, ChannelMonitorUpdateStatus, Listen};
use lightning::events::bump_transaction::BumpTransactionEvent;
use lightning::events::{Event, EventsProvider};
use lightning::ln::channelmanager::ChainParameters;
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler};
use lightning::ln::types::ChannelId;
use lightning::onion_message::messenger::DefaultMessageRouter;
use lightning::sign::{InMemorySigner, KeysManager, NodeSigner, Recipient};
use lightning::util::persist::MonitorName;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::accept::{AcceptRules, Acceptor, Request};
use super::close::Closer;
use super::closed::{ClosedChannel, ClosedChannels, Closure};
use super::config::{ChannelSettings, user_config};
use super::events::Channels;
use super::forwards::{Forward, Forwards};
use super::open::{FundingFee, FundingWallet, OpenRequest, Opener};
use super::spends::{ClosingTransaction, FundingSpends};
use crate::ldk::{ChainMonitor, ChannelManager, ChannelMonitor, PeerManager};
use crate::logger::LdkLogger;
use crate::peers::connect::Connector;
use crate::peers::listen::Listener;
use crate::peers::{PeerBook, book};
use crate::routing::{RouteFinder, graph};

/// Longer than anything here takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct TestNode {
    pub id: PublicKey,
    pub address: SocketAddr,
    pub manager: Arc<ChannelManager>,
    pub monitors: Arc<ChainMonitor>,
    pub peers: Arc<PeerManager>,
    pub connector: Arc<Connector>,
    pub finder: RouteFinder,
    pub opener: Arc<Opener>,
    pub closer: Closer,
    pub spends: Arc<FundingSpends>,
    pub store: Arc<Store>,
    pub wallet: Arc<Wallet>,
    pub graph: Arc<crate::ldk::NetworkGraph>,
    /// Events that the room does not handle itself.
    pub events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    turn: watch::Receiver<u64>,
    network: Arc<Broadcasts>,
    _stop: DropGuard,
}

/// Everything that was broadcast and not mined yet.
pub struct Broadcasts {
    waiting: Mutex<Vec<Transaction>>,
    spends: Arc<FundingSpends>,
}

impl BroadcasterInterface for Broadcasts {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        self.spends.broadcast(transactions);
        self.waiting
            .lock()
            .unwrap()
            .extend(transactions.iter().map(|&tx| tx.clone()));
    }
}

struct Fees;

impl lightning::chain::chaininterface::FeeEstimator for Fees {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        match target {
            ConfirmationTarget::MaximumFeeEstimate => 25_000,
            _ => 2_500,
        }
    }
}

struct NoDisk;

impl Persist<InMemorySigner> for NoDisk {
    fn persist_new_channel(
        &self,
        _: MonitorName,
        _: &ChannelMonitor,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn update_persisted_channel(
        &self,
        _: MonitorName,
        _: Option<&ChannelMonitorUpdate>,
        _: &ChannelMonitor,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn archive_persisted_channel(&self, _: MonitorName) {}
}

/// What the storage room would keep.
#[derive(Default)]
pub struct Store {
    pub closed: Mutex<Vec<ClosedChannel>>,
    pub closing: Mutex<Vec<(ChannelId, ClosingTransaction)>>,
    pub forwards: Mutex<Vec<Forward>>,
    pub book: Mutex<Vec<(PublicKey, String)>>,
}

impl ClosedChannels for Store {
    fn record(&self, channel: ClosedChannel) {
        self.closed.lock().unwrap().push(channel);
    }

    fn closing_transaction(&self, channel_id: ChannelId, closing: ClosingTransaction) {
        self.closing.lock().unwrap().push((channel_id, closing));
    }
}

impl Forwards for Store {
    fn record(&self, forward: Forward) {
        self.forwards.lock().unwrap().push(forward);
    }
}

impl PeerBook for Store {
    fn addresses(&self) -> Result<Vec<(PublicKey, String)>, book::BookError> {
        Ok(self.book.lock().unwrap().clone())
    }

    fn remember(&self, peer: PublicKey, address: String) {
        self.book.lock().unwrap().push((peer, address));
    }

    fn forget(&self, peer: &PublicKey) {
        self.book.lock().unwrap().retain(|(owner, _)| owner != peer);
    }
}

/// A wallet whose coins exist only in its word.
#[derive(Default)]
pub struct Wallet {
    pub empty: std::sync::atomic::AtomicBool,
    pub funded: Mutex<Vec<Transaction>>,
    pub canceled: Mutex<Vec<Txid>>,
}

impl FundingWallet for Wallet {
    fn fund(&self, script: ScriptBuf, sat: u64, _: FundingFee) -> Result<Transaction, String> {
        if self.empty.load(std::sync::atomic::Ordering::Relaxed) {
            return Err("not enough witness outputs".to_owned());
        }
        let mut funded = self.funded.lock().unwrap();
        let mut coin = [0; 32];
        getrandom::fill(&mut coin).unwrap();
        let transaction = Transaction {
            version: TxVersion::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(Txid::from_byte_array(coin), 0),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[[1; 64]]),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(sat),
                script_pubkey: script,
            }],
        };
        funded.push(transaction.clone());
        Ok(transaction)
    }

    fn cancel(&self, transaction: &Transaction) {
        self.canceled
            .lock()
            .unwrap()
            .push(transaction.compute_txid());
    }
}

/// Settings of a node that takes channels from anybody after one confirmation.
pub fn open_settings() -> (ChannelSettings, AcceptRules) {
    let settings = ChannelSettings {
        min_depth_blocks: 1,
        ..ChannelSettings::default()
    };
    let rules = AcceptRules {
        min_channel_sat: 20_000,
        max_pending_per_peer: 2,
        reserve_per_channel_sat: 0,
    };
    (settings, rules)
}

impl TestNode {
    /// A node with this seed that listens on a free port.
    pub async fn start(seed: u8) -> Self {
        Self::start_with(seed, open_settings()).await
    }

    pub async fn start_with(seed: u8, (settings, rules): (ChannelSettings, AcceptRules)) -> Self {
        let logger = Arc::new(LdkLogger);
        let config = user_config(&settings).unwrap();
        let keys = Arc::new(KeysManager::new(&[seed; 32], 1, 1, true));
        let id = keys.get_node_id(Recipient::Node).unwrap();
        let store = Arc::new(Store::default());
        let spends = Arc::new(FundingSpends::new(
            Arc::clone(&store) as Arc<dyn ClosedChannels>
        ));
        let network = Arc::new(Broadcasts {
            waiting: Mutex::default(),
            spends: spends.clone(),
        });
        let graph = Arc::new(graph::read_or_new_graph(
            None,
            Network::Regtest,
            logger.clone(),
        ));
        let scorer = Arc::new(graph::read_or_new_scorer(None, &graph, &logger));
        let monitors = Arc::new(ChainMonitor::new(
            None,
            network.clone(),
            logger.clone(),
            Arc::new(Fees),
            Arc::new(NoDisk),
            keys.clone(),
            keys.get_peer_storage_key(),
        ));
        let manager = Arc::new(ChannelManager::new(
            Arc::new(Fees),
            monitors.clone(),
            network.clone(),
            Arc::new(graph::router(&graph, &scorer, &keys, &logger)),
            Arc::new(DefaultMessageRouter::new(graph.clone(), keys.clone())),
            logger.clone(),
            keys.clone(),
            keys.clone(),
            keys.clone(),
            config.clone(),
            ChainParameters {
                network: Network::Regtest,
                best_block: BestBlock::from_network(Network::Regtest),
            },
            1,
        ));
        let peers = peer_manager(seed, &keys, &manager, &monitors);
        let wallet = Arc::new(Wallet::default());
        let opener = Arc::new(Opener::new(
            manager.clone(),
            peers.clone(),
            wallet.clone(),
            config,
        ));
        let acceptor = Acceptor::new(manager.clone(), rules, Arc::new(|| 0));
        let channels = Channels::new(
            manager.clone(),
            opener.clone(),
            acceptor,
            spends.clone(),
            store.clone(),
            store.clone(),
        );
        let stop = CancellationToken::new();
        let address = listen(&peers, &manager, &stop).await;
        let (turns, turn) = watch::channel(0);
        let (event_sender, events) = mpsc::unbounded_channel();
        let pump = Pump {
            manager: manager.clone(),
            monitors: monitors.clone(),
            peers: peers.clone(),
            network: network.clone(),
            channels,
            events: event_sender,
        };
        tokio::spawn(pump.run(turns, stop.clone()));
        let connector = Arc::new(Connector::new(
            peers.clone(),
            id,
            store.clone(),
            channel_peers(&manager),
        ));
        Self {
            id,
            address,
            finder: RouteFinder::new(graph.clone(), scorer, keys, logger, id),
            closer: Closer::new(manager.clone(), peers.clone(), spends.clone()),
            manager,
            monitors,
            peers,
            connector,
            opener,
            spends,
            store,
            wallet,
            graph,
            events: tokio::sync::Mutex::new(events),
            turn,
            network,
            _stop: stop.drop_guard(),
        }
    }

    /// Waits, turn by turn of the node's event loop, until the condition holds.
    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let mut turn = self.turn.clone();
        let wait = async {
            while !condition() {
                turn.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("waited in vain until {what}"));
    }

    /// The next event that matches.
    pub async fn event<T>(&self, pick: impl Fn(Event) -> Option<T>) -> T {
        let mut events = self.events.lock().await;
        let wait = async {
            loop {
                let event = events.recv().await.expect("the node runs");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("the event comes")
    }

    pub async fn connect(&self, other: &TestNode) {
        let address = other.address.to_string();
        self.connector
            .connect(other.id, &address, PATIENCE)
            .await
            .unwrap();
        other
            .until("the peer is there", || {
                other.connector.is_connected(&self.id)
            })
            .await;
    }

    pub fn channel_peers(&self) -> Arc<book::ChannelPeers> {
        channel_peers(&self.manager)
    }

    /// A request to `other` for a private channel.
    pub fn request(&self, other: &TestNode, capacity_sat: u64, push_sat: u64) -> OpenRequest {
        OpenRequest {
            peer: other.id,
            capacity_sat,
            push_sat,
            private: true,
            fee: FundingFee::SatPerVbyte(2),
            min_htlc_msat: None,
            remote_csv_delay: None,
            base_fee_msat: None,
            fee_rate_ppm: None,
        }
    }
}

fn channel_peers(manager: &Arc<ChannelManager>) -> Arc<book::ChannelPeers> {
    let manager = Arc::clone(manager);
    Arc::new(move || {
        let channels = manager.list_channels();
        channels
            .iter()
            .map(|channel| channel.counterparty.node_id)
            .collect::<HashSet<_>>()
    })
}

fn peer_manager(
    seed: u8,
    keys: &Arc<KeysManager>,
    manager: &Arc<ChannelManager>,
    monitors: &Arc<ChainMonitor>,
) -> Arc<PeerManager> {
    let handler = MessageHandler {
        chan_handler: Arc::clone(manager) as Arc<_>,
        route_handler: Arc::new(IgnoringMessageHandler {}) as Arc<_>,
        onion_message_handler: Arc::new(IgnoringMessageHandler {}) as Arc<_>,
        custom_message_handler: IgnoringMessageHandler {},
        send_only_message_handler: Arc::clone(monitors),
    };
    Arc::new(PeerManager::new(
        handler,
        1,
        &[seed; 32],
        Arc::new(LdkLogger),
        Arc::clone(keys),
    ))
}

async fn listen(
    peers: &Arc<PeerManager>,
    manager: &Arc<ChannelManager>,
    stop: &CancellationToken,
) -> SocketAddr {
    let any = "127.0.0.1:0".parse().unwrap();
    let socket = crate::peers::listen::bind(&[any]).await.unwrap().remove(0);
    let address = socket.local_addr().unwrap();
    let listener = Listener::new(Arc::clone(peers), channel_peers(manager), 10);
    let stop = stop.clone();
    tokio::spawn(async move { listener.run(socket, stop).await });
    address
}

/// Hands LDK's events to the room, as the node room does.
struct Pump {
    manager: Arc<ChannelManager>,
    monitors: Arc<ChainMonitor>,
    peers: Arc<PeerManager>,
    network: Arc<Broadcasts>,
    channels: Channels,
    events: mpsc::UnboundedSender<Event>,
}

impl Pump {
    async fn run(self, turns: watch::Sender<u64>, stop: CancellationToken) {
        loop {
            // Connecting and disconnecting wake nobody, so that tests would wait for them in vain.
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.manager.get_event_or_persistence_needed_future() => {}
                () = self.monitors.get_update_future() => {}
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            self.manager.process_pending_htlc_forwards();
            let handler = |event| {
                self.handle(event);
                Ok(())
            };
            self.manager.process_pending_events(&handler);
            self.monitors.process_pending_events(&handler);
            self.peers.process_events();
            turns.send_modify(|turn| *turn += 1);
        }
    }

    fn handle(&self, event: Event) {
        match event {
            Event::OpenChannelRequest {
                temporary_channel_id,
                counterparty_node_id,
                funding_satoshis,
                channel_negotiation_type,
                channel_type,
                is_announced,
                ..
            } => self.channels.open_channel_request(&Request {
                temporary_channel_id,
                counterparty_node_id,
                funding_satoshis,
                channel_negotiation_type,
                channel_type,
                is_announced,
            }),
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                user_channel_id,
            } => self.channels.funding_generation_ready(
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                user_channel_id,
            ),
            Event::ChannelPending {
                channel_id,
                user_channel_id,
                counterparty_node_id,
                funding_txo,
                ..
            } => self.channels.channel_pending(
                channel_id,
                user_channel_id,
                counterparty_node_id,
                funding_txo,
            ),
            Event::ChannelReady {
                channel_id,
                counterparty_node_id,
                ..
            } => {
                self.channels
                    .channel_ready(channel_id, counterparty_node_id);
            }
            Event::ChannelClosed {
                channel_id,
                user_channel_id,
                reason,
                counterparty_node_id,
                channel_capacity_sats,
                channel_funding_txo,
                last_local_balance_msat,
            } => self.channels.channel_closed(&Closure {
                channel_id,
                user_channel_id,
                reason,
                counterparty_node_id,
                channel_capacity_sats,
                channel_funding_txo: channel_funding_txo.map(|p| p.into_bitcoin_outpoint()),
                last_local_balance_msat,
            }),
            Event::DiscardFunding { funding_info, .. } => {
                self.channels.discard_funding(&funding_info);
            }
            Event::BumpTransaction(BumpTransactionEvent::ChannelClose {
                commitment_tx, ..
            }) => self.network.broadcast_transactions(&[&commitment_tx]),
            other => drop(self.events.send(other)),
        }
    }
}

/// One chain for all nodes of a test.
pub struct Chain {
    tip: Mutex<(bitcoin::BlockHash, u32)>,
}

impl Chain {
    pub fn new() -> Self {
        Self {
            tip: Mutex::new((BestBlock::from_network(Network::Regtest).block_hash, 0)),
        }
    }

    /// Mines what the nodes have broadcast into one block. Returns its height.
    pub fn mine(&self, nodes: &[&TestNode]) -> u32 {
        let mut transactions: Vec<Transaction> = Vec::new();
        for node in nodes {
            for transaction in node.network.waiting.lock().unwrap().drain(..) {
                let conflicts = |other: &Transaction| {
                    let spent = |input: &TxIn| input.previous_output;
                    let theirs: Vec<_> = other.input.iter().map(spent).collect();
                    transaction
                        .input
                        .iter()
                        .any(|input| theirs.contains(&spent(input)))
                };
                if !transactions.iter().any(conflicts) {
                    transactions.push(transaction);
                }
            }
        }
        let mut tip = self.tip.lock().unwrap();
        let header = Header {
            version: Version::TWO,
            prev_blockhash: tip.0,
            merkle_root: TxMerkleNode::all_zeros(),
            time: tip.1 + 1,
            bits: CompactTarget::from_consensus(0),
            nonce: 0,
        };
        let block = Block {
            header,
            txdata: transactions,
        };
        *tip = (block.block_hash(), tip.1 + 1);
        for node in nodes {
            node.manager.block_connected(&block, tip.1);
            node.monitors.block_connected(&block, tip.1);
            node.spends.block_connected(&block, tip.1);
        }
        tip.1
    }
}

/// Two nodes with one usable channel, opened by the first.
pub async fn two_nodes(capacity_sat: u64, push_sat: u64) -> (TestNode, TestNode, Chain, OutPoint) {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    let chain = Chain::new();
    alice.connect(&bob).await;
    let opening = alice
        .opener
        .open(&alice.request(&bob, capacity_sat, push_sat))
        .unwrap();
    let point = opening.funded().await.unwrap();
    alice
        .until("the funding is broadcast", || {
            !alice.network.waiting.lock().unwrap().is_empty()
        })
        .await;
    chain.mine(&[&alice, &bob]);
    for node in [&alice, &bob] {
        node.until("the channel is usable", || {
            node.manager
                .list_channels()
                .iter()
                .any(|channel| channel.is_usable)
        })
        .await;
    }
    (alice, bob, chain, point)
}

impl TestNode {
    /// The scripts of all outputs that were broadcast and not mined.
    pub fn broadcast_scripts(&self) -> Vec<ScriptBuf> {
        let waiting = self.network.waiting.lock().unwrap();
        let outputs = waiting
            .iter()
            .flat_map(|transaction| transaction.output.iter());
        outputs.map(|output| output.script_pubkey.clone()).collect()
    }
}
