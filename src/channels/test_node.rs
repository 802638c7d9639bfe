//! A complete in-memory node for tests: LDK with our types, loopback sockets, and a simulated
//! chain.
//!
//! Only disk and bitcoind are replaced: the store reports "written" immediately, and the wallet's
//! UTXOs are invented (nothing checks inputs here).

mod chain;
mod channels;
mod parts;
mod pump;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, OutPoint, ScriptBuf};
use lightning::chain::BestBlock;
use lightning::events::Event;
use lightning::ln::channelmanager::ChainParameters;
use lightning::ln::msgs::ChannelMessageHandler;
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler};
use lightning::onion_message::messenger::DefaultMessageRouter;
use lightning::sign::{KeysManager, NodeSigner};
use lightning::util::config::UserConfig;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::channels::{channels, closer, opener};
use self::parts::{Addresses, Broadcasts, NoDisk};
use self::pump::Pump;
use super::acceptors::ChannelAcceptors;
use super::close::{Closer, closing_terms};
use super::closed::ClosedChannels;
use super::config::{ChannelSettings, user_config};
use super::funding_spends::FundingSpends;
use super::inbound::{AcceptRules, Acceptor, ForcedCloseFunds};
use super::open::{FundingFee, OpenRequest, Opener};
use super::unfunded::UnfundedChannels;
use crate::chain::FeeEstimates;
use crate::channel_messages::ChannelMessages;
use crate::ldk::{ChainMonitor, ChannelManager, NetworkGraph, Scorer};
use crate::logging::ldk::LdkLogger;
use crate::peers::PeerManager;
use crate::peers::address_book;
use crate::peers::connect::Connector;
use crate::peers::connection;
use crate::peers::listen::{self, Listener};
use crate::routing::{RouteFinder, graph};
use ldk_amp::{EnvelopeKey, Gateway};

pub(crate) use self::chain::Chain;
pub(crate) use self::parts::{Store, TestSigners, Wallet};

/// The timeout of every wait in tests, sufficient even on a busy machine.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The default fee rate of a test node, in sat per 1000 weight units.
pub(crate) const SAT_PER_KW: u32 = 2_500;

pub(crate) struct TestNode {
    pub id: PublicKey,
    pub address: SocketAddr,
    pub manager: Arc<ChannelManager>,
    pub monitors: Arc<ChainMonitor>,
    pub peers: Arc<PeerManager>,
    pub connector: Arc<Connector>,
    pub finder: RouteFinder,
    pub opener: Arc<Opener>,
    /// The acceptors for inbound channels of this node.
    pub acceptors: ChannelAcceptors,
    pub closer: Closer,
    pub spends: Arc<FundingSpends>,
    pub unfunded: Arc<UnfundedChannels>,
    pub addresses: Arc<Addresses>,
    pub store: Arc<Store>,
    pub wallet: Arc<Wallet>,
    pub graph: Arc<NetworkGraph>,
    /// Events that this module does not handle.
    pub events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    turn: watch::Receiver<u64>,
    network: Arc<Broadcasts>,
    _stop: DropGuard,
}

/// Returns settings that accept channels from all peers after one confirmation.
pub(crate) fn open_settings() -> (ChannelSettings, AcceptRules) {
    let settings = ChannelSettings {
        min_depth_blocks: 1,
        ..ChannelSettings::default()
    };
    let rules = AcceptRules {
        min_channel_sat: 20_000,
        max_pending_per_peer: 2,
        require_reserve: false,
    };
    (settings, rules)
}

impl TestNode {
    /// Starts a node with this seed on a free port.
    pub(crate) async fn start(seed: u8) -> Self {
        Self::start_with(seed, open_settings()).await
    }

    pub(crate) async fn start_with(seed: u8, settings: (ChannelSettings, AcceptRules)) -> Self {
        Self::start_at(SAT_PER_KW, seed, settings, true).await
    }

    /// Starts a node without our gateway, like other LDK-based software.
    pub(crate) async fn start_stock(seed: u8) -> Self {
        Self::start_at(SAT_PER_KW, seed, open_settings(), false).await
    }

    async fn start_at(
        sat_per_kw: u32,
        seed: u8,
        (settings, rules): (ChannelSettings, AcceptRules),
        with_gateway: bool,
    ) -> Self {
        let config = user_config(&settings).unwrap();
        let fees = Arc::new(FeeEstimates::flat(sat_per_kw));
        let Ldk {
            keys,
            store,
            spends,
            network,
            graph,
            scorer,
            monitors,
            manager,
            peers,
        } = Ldk::new(seed, config.clone(), &fees, with_gateway);
        let (id, wallet) = (manager.get_our_node_id(), Arc::<Wallet>::default());
        let opener = opener(&manager, &peers, &wallet, config);
        let unfunded = Arc::<UnfundedChannels>::default();
        let addresses = Arc::<Addresses>::default();
        let acceptor = Acceptor::new(
            manager.clone(),
            rules,
            Arc::new(ForcedCloseFunds::default),
            unfunded.clone(),
            addresses.clone(),
        );
        let channels = channels(&manager, &opener, acceptor, &spends, &unfunded, &store);
        let acceptors = channels.acceptors().clone();
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
        let connector = connector(&manager, &peers, &store);
        let logger = Arc::new(LdkLogger);
        Self {
            id,
            address,
            finder: RouteFinder::new(graph.clone(), scorer, keys, logger, id),
            closer: closer(&manager, &peers, &spends),
            connector,
            manager,
            monitors,
            peers,
            opener,
            acceptors,
            spends,
            unfunded,
            addresses,
            store,
            wallet,
            graph,
            events: tokio::sync::Mutex::new(events),
            turn,
            network,
            _stop: stop.drop_guard(),
        }
    }

    /// Waits until the condition holds, checking after every iteration of the node's event loop.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let mut turn = self.turn.clone();
        let wait = async {
            while !condition() {
                turn.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(TEST_TIMEOUT, wait).await;
        waited.unwrap_or_else(|_| panic!("timed out waiting until {what}"));
    }

    /// Returns the next event that matches.
    pub(crate) async fn event<T>(&self, pick: impl Fn(Event) -> Option<T>) -> T {
        let mut events = self.events.lock().await;
        let wait = async {
            loop {
                let event = events.recv().await.expect("the node has stopped");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(TEST_TIMEOUT, wait)
            .await
            .expect("the event did not arrive")
    }

    pub(crate) async fn connect(&self, other: &TestNode) {
        let address = other.address.to_string();
        self.connector
            .connect(other.id, &address, TEST_TIMEOUT)
            .await
            .unwrap();
        other
            .until("the peer is connected", || {
                other.connector.is_connected(&self.id)
            })
            .await;
    }

    pub(crate) fn channel_peers(&self) -> Arc<address_book::ChannelPeers> {
        channel_peers(&self.manager)
    }

    /// Returns a request to open a private channel to `other`.
    pub(crate) fn request(
        &self,
        other: &TestNode,
        capacity_sat: u64,
        push_sat: u64,
    ) -> OpenRequest {
        OpenRequest {
            peer: other.id,
            capacity_sat,
            push_sat,
            scid_alias: false,
            private: true,
            fee: FundingFee::SatPerVbyte(2),
            min_htlc_msat: None,
            remote_csv_delay: None,
            base_fee_msat: None,
            fee_rate_ppm: None,
        }
    }
}

/// LDK's components, wired as in the node module.
struct Ldk {
    keys: Arc<KeysManager>,
    store: Arc<Store>,
    spends: Arc<FundingSpends>,
    network: Arc<Broadcasts>,
    graph: Arc<NetworkGraph>,
    scorer: Arc<Scorer>,
    monitors: Arc<ChainMonitor>,
    manager: Arc<ChannelManager>,
    peers: Arc<PeerManager>,
}

impl Ldk {
    fn new(seed: u8, config: UserConfig, fees: &Arc<FeeEstimates>, with_gateway: bool) -> Self {
        let logger = Arc::new(LdkLogger);
        let keys = Arc::new(KeysManager::new(&[seed; 32], 1, 1, true));
        let store = Arc::new(Store::default());
        let spends = Arc::new(FundingSpends::new(store.clone() as Arc<dyn ClosedChannels>));
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
            fees.clone(),
            Arc::new(NoDisk),
            keys.clone(),
            keys.get_peer_storage_key(),
        ));
        let manager = Arc::new(ChannelManager::new(
            fees.clone(),
            monitors.clone(),
            network.clone(),
            Arc::new(graph::router(&graph, &scorer, &keys, &logger)),
            Arc::new(DefaultMessageRouter::new(graph.clone(), keys.clone())),
            logger,
            keys.clone(),
            keys.clone(),
            Arc::new(TestSigners(keys.clone())),
            config,
            ChainParameters {
                network: Network::Regtest,
                best_block: BestBlock::from_network(Network::Regtest),
            },
            1,
        ));
        let handler: Arc<dyn ChannelMessageHandler + Send + Sync> = match with_gateway {
            true => Arc::new(gateway(seed, &keys, &manager)),
            false => manager.clone(),
        };
        let peers = peer_manager(seed, &keys, handler, &monitors);
        Self {
            keys,
            store,
            spends,
            network,
            graph,
            scorer,
            monitors,
            manager,
            peers,
        }
    }
}

fn channel_peers(manager: &Arc<ChannelManager>) -> Arc<address_book::ChannelPeers> {
    let manager = Arc::clone(manager);
    Arc::new(move || {
        let channels = manager.list_channels();
        channels
            .iter()
            .map(|channel| channel.counterparty.node_id)
            .collect::<HashSet<_>>()
    })
}

fn gateway(
    seed: u8,
    keys: &Arc<KeysManager>,
    manager: &Arc<ChannelManager>,
) -> ChannelMessages<Arc<Gateway<Arc<ChannelManager>, Arc<KeysManager>>>> {
    let envelope_key = EnvelopeKey::from_seed(&[seed; 32]);
    let gateway = Gateway::new(Arc::clone(manager), Arc::clone(keys), envelope_key);
    let (closing, listing) = (Arc::clone(manager), Arc::clone(manager));
    ChannelMessages::new(Arc::new(gateway))
        .closing_by(move |peer, channel| closing_terms(&closing, peer, channel))
        .knowing_channels(move |peer| listing.list_channels_with_counterparty(peer))
}

fn peer_manager(
    seed: u8,
    keys: &Arc<KeysManager>,
    chan_handler: Arc<dyn ChannelMessageHandler + Send + Sync>,
    monitors: &Arc<ChainMonitor>,
) -> Arc<PeerManager> {
    let handler = MessageHandler {
        chan_handler,
        route_handler: Arc::new(IgnoringMessageHandler {}) as Arc<_>,
        onion_message_handler: Arc::new(IgnoringMessageHandler {}) as Arc<_>,
        custom_message_handler: Arc::default(),
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

fn connector(
    manager: &Arc<ChannelManager>,
    peers: &Arc<PeerManager>,
    store: &Arc<Store>,
) -> Arc<Connector> {
    Arc::new(Connector::new(
        connection(peers),
        manager.get_our_node_id(),
        store.clone(),
        channel_peers(manager),
    ))
}

fn connection(peers: &Arc<PeerManager>) -> connection::Context {
    connection::Context {
        peers: Arc::clone(peers),
        commits: Arc::new(Store::default()),
    }
}

async fn listen(
    peers: &Arc<PeerManager>,
    manager: &Arc<ChannelManager>,
    stop: &CancellationToken,
) -> SocketAddr {
    let any = "127.0.0.1:0".parse().unwrap();
    let socket = listen::bind(&[any]).unwrap().remove(0);
    let address = socket.local_addr().unwrap();
    let listener = Listener::new(
        connection(peers),
        channel_peers(manager),
        listen::bounds(u64::MAX),
    );
    let stop = stop.clone();
    tokio::spawn(async move { listener.run(socket, stop).await });
    address
}

/// Starts two nodes with one usable channel, opened by the first.
pub(crate) async fn two_nodes(
    capacity_sat: u64,
    push_sat: u64,
) -> (TestNode, TestNode, Chain, OutPoint) {
    two_nodes_at([SAT_PER_KW; 2], capacity_sat, push_sat).await
}

/// The same with the fee estimates of both nodes, in sat per 1000 weight units.
pub(crate) async fn two_nodes_at(
    [ours, theirs]: [u32; 2],
    capacity_sat: u64,
    push_sat: u64,
) -> (TestNode, TestNode, Chain, OutPoint) {
    let alice = TestNode::start_at(ours, 1, open_settings(), true).await;
    let bob = TestNode::start_at(theirs, 2, open_settings(), true).await;
    let (chain, point) = open_between(&alice, &bob, capacity_sat, push_sat).await;
    (alice, bob, chain, point)
}

/// Opens a channel from the first to the second node, and waits until it is usable.
pub(crate) async fn open_between(
    alice: &TestNode,
    bob: &TestNode,
    capacity_sat: u64,
    push_sat: u64,
) -> (Chain, OutPoint) {
    open_with(alice, bob, &alice.request(bob, capacity_sat, push_sat)).await
}

/// The same with a custom request.
pub(crate) async fn open_with(
    alice: &TestNode,
    bob: &TestNode,
    request: &OpenRequest,
) -> (Chain, OutPoint) {
    let chain = Chain::new();
    alice.connect(bob).await;
    let opening = alice.opener.open(request).unwrap();
    let point = opening.funded().await.unwrap();
    alice
        .until("the funding is broadcast", || {
            !alice.network.waiting.lock().unwrap().is_empty()
        })
        .await;
    chain.mine(&[alice, bob]);
    for node in [alice, bob] {
        node.until("the channel is usable", || {
            node.manager
                .list_channels()
                .iter()
                .any(|channel| channel.is_usable)
        })
        .await;
    }
    (chain, point)
}

impl TestNode {
    /// Returns the scripts of all broadcast outputs that are not mined.
    pub(crate) fn broadcast_scripts(&self) -> Vec<ScriptBuf> {
        let waiting = self.network.waiting.lock().unwrap();
        let outputs = waiting
            .iter()
            .flat_map(|transaction| transaction.output.iter());
        outputs.map(|output| output.script_pubkey.clone()).collect()
    }

    /// Returns the fee, in sat, of the last broadcast transaction, if it spends a channel of this
    /// capacity.
    pub(crate) fn fee_of_close(&self, capacity_sat: u64) -> u64 {
        let waiting = self.network.waiting.lock().unwrap();
        let outputs = waiting
            .last()
            .expect("no transaction was broadcast")
            .output
            .iter();
        capacity_sat - outputs.map(|output| output.value.to_sat()).sum::<u64>()
    }
}
