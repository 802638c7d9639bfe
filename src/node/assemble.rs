//! Wiring: from what is open to rooms that know each other. No task runs yet.

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::events::bump_transaction::sync::WalletSync;
use lightning::ln::channelmanager::{ChainParameters, ChannelManagerReadArgs};
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler};
use lightning::onion_message::messenger::DefaultMessageRouter;
use lightning::routing::gossip::P2PGossipSync;
use lightning::sign::{EntropySource, NodeSigner, Recipient};
use lightning::util::config::UserConfig;
use lightning::util::persist as names;
use lightning::util::ser::ReadableArgs;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::books::Books;
use super::broadcast::Tee;
use super::chain_listener::ChainListener;
use super::cut::NodeCut;
use super::events::{Bumper, EventHandler};
use super::funding::Funding;
use super::outbound::ManagerOutbound;
use super::parts::Parts;
use super::port::{ManagerPort, NodeGateway};
use super::{StartError, seed};
use crate::amp::SetLimits;
use crate::chain::{Broadcaster, gossip::GossipSync};
use crate::channels::Channels;
use crate::channels::accept::{AcceptRules, Acceptor};
use crate::channels::close::Closer;
use crate::channels::config::{ChannelSettings, user_config};
use crate::channels::open::Opener;
use crate::channels::spends::FundingSpends;
use crate::config::Config;
use crate::invoices::{self, Registry};
use crate::ldk;
use crate::ldk::{
    ChainMonitor, ChannelManager, ChannelMonitor, KeysManager, NetworkGraph, OnionMessenger,
    OutputSweeper, PeerManager, Scorer,
};
use crate::logger::LdkLogger;
use crate::onion::{EnvelopeKey, Gateway};
use crate::payments::Payments;
use crate::peers::book::ChannelPeers;
use crate::peers::{Connector, Reconnector};
use crate::routing::finder::RouteFinder;
use crate::routing::graph;
use crate::storage::monitors::{MonitorReader, MonitorStore};
use crate::storage::{DirectoryLock, Store};
use crate::wallet::{ChannelSigners, Wallet};

/// Channels of one peer that may wait for their confirmations.
const MAX_PENDING_PER_PEER: usize = 4;

/// LDK's core: what holds the channels and what it leans on.
pub(super) struct Core {
    pub(super) store: Arc<Store>,
    pub(super) keys: Arc<KeysManager>,
    pub(super) logger: Arc<LdkLogger>,
    pub(super) node_id: PublicKey,
    pub(super) bitcoind: Arc<crate::chain::Bitcoind>,
    pub(super) chain_info: crate::chain::ChainInfo,
    pub(super) fees: Arc<crate::chain::FeeEstimates>,
    pub(super) broadcaster: Arc<Broadcaster>,
    pub(super) ldk_broadcaster: Arc<ldk::Broadcaster>,
    pub(super) spends: Arc<FundingSpends>,
    pub(super) wallet: Arc<Wallet>,
    pub(super) graph: Arc<NetworkGraph>,
    pub(super) scorer: Arc<Scorer>,
    pub(super) monitors: Arc<ChainMonitor>,
    /// Read from disk; they join `monitors` once they know the chain.
    pub(super) stored_monitors: Vec<ChannelMonitor>,
    pub(super) manager: Arc<ChannelManager>,
    pub(super) sweeper: Arc<OutputSweeper>,
    pub(super) envelope_key: EnvelopeKey,
    pub(super) channel_config: UserConfig,
    pub(super) lock: DirectoryLock,
    pub(super) stop: CancellationToken,
}

/// Reads what was stored and builds LDK's core around it.
pub(super) fn assemble(
    config: &Config,
    parts: Parts,
    stop: CancellationToken,
) -> Result<Core, StartError> {
    let best_block = parts.best_block();
    let Parts {
        lock,
        store,
        keys,
        wallet_key,
        envelope_key,
        bitcoind,
        chain_info,
        fees,
    } = parts;
    let logger = Arc::new(LdkLogger);
    let node_id = node_id(&keys, config)?;
    let books = Arc::new(Books(store.clone()));
    let wallet = Arc::new(Wallet::open(
        &wallet_key,
        config.network,
        best_block,
        books,
    )?);
    let broadcaster = Arc::new(Broadcaster::new(bitcoind.clone()));
    let spends = Arc::new(FundingSpends::new(store.clone()));
    let ldk_broadcaster: Arc<ldk::Broadcaster> = Arc::new(Tee {
        spends: spends.clone(),
        broadcaster: broadcaster.clone(),
    });
    let ldk_fees: Arc<ldk::FeeEstimator> = fees.clone();
    let monitors: Arc<ChainMonitor> = Arc::new(ChainMonitor::new(
        None,
        ldk_broadcaster.clone(),
        logger.clone(),
        ldk_fees.clone(),
        Arc::new(MonitorStore(store.clone())),
        keys.clone(),
        keys.get_peer_storage_key(),
    ));
    let stored_monitors = MonitorReader {
        keys: keys.clone(),
        broadcaster: ldk_broadcaster.clone(),
        fees: ldk_fees.clone(),
        logger: logger.clone(),
    }
    .read_all(&store)?;
    let graph = Arc::new(graph::read_or_new_graph(
        network_graph(&store)?.as_deref(),
        config.network,
        logger.clone(),
    ));
    let scorer = Arc::new(graph::read_or_new_scorer(
        scores(&store)?.as_deref(),
        &graph,
        &logger,
    ));
    let channel_config = user_config(&settings(config))?;
    let manager = ManagerParts {
        store: &store,
        keys: &keys,
        signers: Arc::new(ChannelSigners {
            keys: keys.clone(),
            wallet: wallet.clone(),
        }),
        logger: &logger,
        monitors: &monitors,
        broadcaster: &ldk_broadcaster,
        fees: &ldk_fees,
        router: Arc::new(graph::router(&graph, &scorer, &keys, &logger)),
        message_router: Arc::new(DefaultMessageRouter::new(graph.clone(), keys.clone())),
        config: channel_config.clone(),
    }
    .read_or_new(config, best_block, &stored_monitors)?;
    let sweeper = Arc::new(read_or_new_sweeper(
        &store,
        best_block,
        &ldk_broadcaster,
        &ldk_fees,
        &keys,
        &wallet,
        &logger,
    )?);
    Ok(Core {
        store,
        keys,
        logger,
        node_id,
        bitcoind,
        chain_info,
        fees,
        broadcaster,
        ldk_broadcaster,
        spends,
        wallet,
        graph,
        scorer,
        monitors,
        stored_monitors,
        manager,
        sweeper,
        envelope_key,
        channel_config,
        lock,
        stop,
    })
}

fn node_id(keys: &KeysManager, config: &Config) -> Result<PublicKey, StartError> {
    keys.get_node_id(Recipient::Node)
        .map_err(|()| StartError::Seed {
            path: seed::path(&config.network_dir()),
            reason: "it gives no node key".into(),
        })
}

fn settings(config: &Config) -> ChannelSettings {
    ChannelSettings {
        base_fee_msat: config.forwarding.base_fee_msat,
        fee_rate_ppm: config.forwarding.fee_rate_ppm,
        cltv_delta_blocks: config.forwarding.cltv_delta,
        min_channel_sat: config.min_channel_size_sat,
        ..ChannelSettings::default()
    }
}

fn network_graph(store: &Store) -> Result<Option<Vec<u8>>, StartError> {
    Ok(store.value(
        names::NETWORK_GRAPH_PERSISTENCE_PRIMARY_NAMESPACE,
        names::NETWORK_GRAPH_PERSISTENCE_SECONDARY_NAMESPACE,
        names::NETWORK_GRAPH_PERSISTENCE_KEY,
    )?)
}

fn scores(store: &Store) -> Result<Option<Vec<u8>>, StartError> {
    Ok(store.value(
        names::SCORER_PERSISTENCE_PRIMARY_NAMESPACE,
        names::SCORER_PERSISTENCE_SECONDARY_NAMESPACE,
        names::SCORER_PERSISTENCE_KEY,
    )?)
}

/// What a channel manager is made from.
struct ManagerParts<'a> {
    store: &'a Store,
    keys: &'a Arc<KeysManager>,
    signers: Arc<ldk::SignerProvider>,
    logger: &'a Arc<LdkLogger>,
    monitors: &'a Arc<ChainMonitor>,
    broadcaster: &'a Arc<ldk::Broadcaster>,
    fees: &'a Arc<ldk::FeeEstimator>,
    router: Arc<ldk::Router>,
    message_router: Arc<ldk::MessageRouter>,
    config: UserConfig,
}

impl ManagerParts<'_> {
    fn read_or_new(
        self,
        config: &Config,
        best_block: lightning::chain::BestBlock,
        stored_monitors: &[ChannelMonitor],
    ) -> Result<Arc<ChannelManager>, StartError> {
        match self.store.manager()? {
            Some(bytes) => self.read(&bytes, stored_monitors),
            None => self.make(config, best_block),
        }
        .map(Arc::new)
    }

    fn read(self, bytes: &[u8], monitors: &[ChannelMonitor]) -> Result<ChannelManager, StartError> {
        let args = ChannelManagerReadArgs::new(
            self.keys.clone(),
            self.keys.clone(),
            self.signers,
            self.fees.clone(),
            self.monitors.clone() as Arc<ldk::ChainWatch>,
            self.broadcaster.clone(),
            self.router,
            self.message_router,
            self.logger.clone(),
            self.config,
            monitors.iter().collect(),
        );
        <(bitcoin::BlockHash, ChannelManager)>::read(&mut &bytes[..], args)
            .map(|(_, manager)| manager)
            .map_err(|error| StartError::Manager(error.to_string()))
    }

    fn make(
        self,
        config: &Config,
        best_block: lightning::chain::BestBlock,
    ) -> Result<ChannelManager, StartError> {
        let now = unix_time()?;
        Ok(ChannelManager::new(
            self.fees.clone(),
            self.monitors.clone(),
            self.broadcaster.clone(),
            self.router,
            self.message_router,
            self.logger.clone(),
            self.keys.clone(),
            self.keys.clone(),
            self.signers,
            self.config,
            ChainParameters {
                network: config.network,
                best_block,
            },
            now,
        ))
    }
}

fn read_or_new_sweeper(
    store: &Arc<Store>,
    best_block: lightning::chain::BestBlock,
    broadcaster: &Arc<ldk::Broadcaster>,
    fees: &Arc<ldk::FeeEstimator>,
    keys: &Arc<KeysManager>,
    wallet: &Arc<Wallet>,
    logger: &Arc<LdkLogger>,
) -> Result<OutputSweeper, StartError> {
    let stored = store.value(
        names::OUTPUT_SWEEPER_PERSISTENCE_PRIMARY_NAMESPACE,
        names::OUTPUT_SWEEPER_PERSISTENCE_SECONDARY_NAMESPACE,
        names::OUTPUT_SWEEPER_PERSISTENCE_KEY,
    )?;
    let kv: Arc<ldk::KeyValueStore> = store.clone();
    let wallet: Arc<dyn lightning::sign::ChangeDestinationSourceSync + Send + Sync> =
        wallet.clone();
    let Some(bytes) = stored else {
        return Ok(OutputSweeper::new(
            best_block,
            broadcaster.clone(),
            fees.clone(),
            None,
            keys.clone(),
            wallet,
            kv,
            logger.clone(),
        ));
    };
    let args = (
        broadcaster.clone(),
        fees.clone(),
        None,
        keys.clone(),
        wallet,
        kv,
        logger.clone(),
    );
    <(lightning::chain::BestBlock, OutputSweeper)>::read(&mut &bytes[..], args)
        .map(|(_, sweeper)| sweeper)
        .map_err(|error| {
            crate::storage::StorageError::Damaged(format!("the sweeper's outputs: {error}")).into()
        })
}

/// Seconds since 1970, as LDK wants them.
pub(super) fn unix_time() -> Result<u32, StartError> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| StartError::Clock)?;
    Ok(u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}

/// The rooms around the core.
pub(super) struct House {
    pub(super) gossip: Arc<GossipSync>,
    pub(super) onion_messenger: Arc<OnionMessenger>,
    pub(super) peer_manager: Arc<PeerManager>,
    pub(super) channel_peers: Arc<ChannelPeers>,
    pub(super) connector: Arc<Connector>,
    pub(super) reconnector: Arc<Reconnector>,
    pub(super) opener: Arc<Opener>,
    pub(super) closer: Arc<Closer>,
    pub(super) invoices: Arc<Registry>,
    pub(super) payments: Arc<Payments>,
    pub(super) events: Arc<EventHandler>,
    pub(super) listener: Arc<ChainListener>,
    /// Something is ready to be sent or processed.
    pub(super) wake: Arc<Notify>,
}

impl House {
    /// Builds the rooms. From now on commits contain the manager.
    pub(super) fn build(config: &Config, core: &Core) -> Result<Self, StartError> {
        let wake = Arc::new(Notify::new());
        core.store.attach(Arc::new(NodeCut {
            manager: core.manager.clone(),
            monitors: core.monitors.clone(),
            wake: wake.clone(),
        }));
        let gateway: Arc<NodeGateway> = Arc::new(Gateway::new(
            core.manager.clone(),
            core.keys.clone(),
            core.envelope_key.clone(),
        ));
        let gossip: Arc<GossipSync> = Arc::new(P2PGossipSync::new(
            core.graph.clone(),
            None,
            core.logger.clone(),
        ));
        let onion_messenger = Arc::new(onion_messenger(core));
        let peer_manager = Arc::new(peer_manager(core, &gateway, &gossip, &onion_messenger)?);
        let channel_peers = channel_peers(core);
        let books = Arc::new(Books(core.store.clone()));
        let connector = Arc::new(Connector::new(
            peer_manager.clone(),
            core.node_id,
            books.clone(),
            channel_peers.clone(),
        ));
        let reconnector = Arc::new(Reconnector::new(
            connector.clone(),
            books,
            channel_peers.clone(),
            core.graph.clone(),
        ));
        let opener = Arc::new(opener(core, &peer_manager));
        let closer = Arc::new(Closer::new(
            core.manager.clone(),
            peer_manager.clone(),
            core.spends.clone(),
        ));
        let invoices = Arc::new(invoices(config, core, &gateway)?);
        let payments = payments(core)?;
        let events = Arc::new(EventHandler {
            manager: core.manager.clone(),
            channels: channels(config, core, &opener),
            invoices: invoices.clone(),
            payments: payments.clone(),
            gateway,
            envelope_key: core.envelope_key.clone(),
            wallet: core.wallet.clone(),
            sweeper: core.sweeper.clone(),
            bumper: bumper(core),
            wake: wake.clone(),
        });
        let listener = Arc::new(ChainListener {
            wallet: core.wallet.clone(),
            spends: core.spends.clone(),
            manager: core.manager.clone(),
            monitors: core.monitors.clone(),
            sweeper: core.sweeper.clone(),
        });
        Ok(Self {
            gossip,
            onion_messenger,
            peer_manager,
            channel_peers,
            connector,
            reconnector,
            opener,
            closer,
            invoices,
            payments,
            events,
            listener,
            wake,
        })
    }
}

fn onion_messenger(core: &Core) -> OnionMessenger {
    OnionMessenger::new(
        core.keys.clone(),
        core.keys.clone(),
        core.logger.clone(),
        core.manager.clone(),
        Arc::new(DefaultMessageRouter::new(
            core.graph.clone(),
            core.keys.clone(),
        )),
        core.manager.clone(),
        IgnoringMessageHandler {},
        IgnoringMessageHandler {},
        IgnoringMessageHandler {},
    )
}

fn peer_manager(
    core: &Core,
    gateway: &Arc<NodeGateway>,
    gossip: &Arc<GossipSync>,
    onion_messenger: &Arc<OnionMessenger>,
) -> Result<PeerManager, StartError> {
    let handlers = MessageHandler {
        chan_handler: gateway.clone() as Arc<_>,
        route_handler: gossip.clone() as Arc<_>,
        onion_message_handler: onion_messenger.clone() as Arc<_>,
        custom_message_handler: IgnoringMessageHandler {},
        send_only_message_handler: core.monitors.clone(),
    };
    let random = core.keys.get_secure_random_bytes();
    let now = unix_time()?;
    Ok(PeerManager::new(
        handlers,
        now,
        &random,
        core.logger.clone(),
        core.keys.clone(),
    ))
}

fn channel_peers(core: &Core) -> Arc<ChannelPeers> {
    let manager = core.manager.clone();
    Arc::new(move || -> HashSet<PublicKey> {
        manager
            .list_channels()
            .into_iter()
            .map(|channel| channel.counterparty.node_id)
            .collect()
    })
}

fn opener(core: &Core, peer_manager: &Arc<PeerManager>) -> Opener {
    let funding = Arc::new(Funding {
        wallet: core.wallet.clone(),
        fees: core.fees.clone(),
        manager: core.manager.clone(),
    });
    Opener::new(
        core.manager.clone(),
        peer_manager.clone(),
        funding,
        core.channel_config.clone(),
    )
}

/// A node without coins takes channels, as lnd's does: then its peer has to close them well.
fn channels(config: &Config, core: &Core, opener: &Arc<Opener>) -> Channels {
    let rules = AcceptRules {
        min_channel_sat: config.min_channel_size_sat,
        max_pending_per_peer: MAX_PENDING_PER_PEER,
        reserve_per_channel_sat: 0,
    };
    let wallet = core.wallet.clone();
    let spendable = Arc::new(move || wallet.balance().confirmed.to_sat());
    Channels::new(
        core.manager.clone(),
        opener.clone(),
        Acceptor::new(core.manager.clone(), rules, spendable),
        core.spends.clone(),
        core.store.clone(),
        core.store.clone(),
    )
}

fn invoices(
    config: &Config,
    core: &Core,
    gateway: &Arc<NodeGateway>,
) -> Result<Registry, StartError> {
    let limits = invoices::Limits {
        accept_amp: config.amp.accept,
        set: SetLimits {
            max_htlcs: config.amp.max_htlcs_per_set.into(),
            ..SetLimits::default()
        },
        max_open_sets: usize::try_from(config.amp.max_open_sets).unwrap_or(usize::MAX),
        max_held_per_channel: config.amp.max_held_htlcs_per_channel.into(),
        default_cltv_delta: config.forwarding.cltv_delta.into(),
    };
    let port = Arc::new(ManagerPort {
        manager: core.manager.clone(),
        gateway: gateway.clone(),
    });
    Ok(Registry::new(
        core.store.clone(),
        port,
        core.keys.clone(),
        config.network,
        limits,
    )?)
}

fn payments(core: &Core) -> Result<Arc<Payments>, StartError> {
    let outbound = ManagerOutbound {
        manager: core.manager.clone(),
        finder: RouteFinder::new(
            core.graph.clone(),
            core.scorer.clone(),
            core.keys.clone(),
            core.logger.clone(),
            core.node_id,
        ),
        keys: core.keys.clone(),
        our_node_id: core.node_id,
    };
    let runtime = tokio::runtime::Handle::current();
    Ok(Payments::new(
        core.store.clone(),
        Arc::new(outbound),
        runtime,
    )?)
}

fn bumper(core: &Core) -> Bumper {
    let coins = Arc::new(WalletSync::new(core.wallet.clone(), core.logger.clone()));
    Bumper::new(
        core.ldk_broadcaster.clone(),
        coins,
        core.keys.clone(),
        core.logger.clone(),
    )
}
