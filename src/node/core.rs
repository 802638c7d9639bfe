//! LDK's core objects (channel manager, monitors, graph, sweeper), read from the database or created.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::chain::BestBlock;
use lightning::ln::channelmanager::{ChainParameters, ChannelManagerReadArgs};
use lightning::onion_message::messenger::DefaultMessageRouter;
use lightning::sign::{ChangeDestinationSourceSync, NodeSigner, Recipient};
use lightning::util::config::UserConfig;
use lightning::util::persist as names;
use lightning::util::ser::ReadableArgs;
use tokio_util::sync::CancellationToken;

use super::broadcast_priorities::BroadcastPriorities;
use super::gate::Gate;
use super::onion_signer::OnionSigner;
use super::resources::Resources;
use super::store_adapters::StoreAdapters;
use super::updates::Updates;
use super::{StartError, seed};
use crate::chain::{Bitcoind, Broadcaster, ChainInfo, FeeEstimates};
use crate::channels::anchor_reserve::AnchorReserve;
use crate::channels::config::{ChannelSettings, user_config};
use crate::channels::funding_spends::FundingSpends;
use crate::channels::unfunded::UnfundedChannels;
use crate::config::Config;
use crate::ldk::{
    self, ChainMonitor, ChannelManager, ChannelMonitor, KeysManager, NetworkGraph, OutputSweeper,
    Scorer,
};
use crate::logging::ldk::LdkLogger;
use crate::routing::graph;
use crate::storage::monitors::{MonitorReader, MonitorStore, SecretOnlyUpdates};
use crate::storage::{DirectoryLock, StorageError, Store};
use crate::wallet::{ChannelSigners, Wallet};
use ldk_amp::EnvelopeKey;

/// LDK's core objects and the services that they depend on.
pub(super) struct Core {
    pub(super) store: Arc<Store>,
    pub(super) keys: Arc<KeysManager>,
    /// Shared by the gateway and the channel manager.
    pub(super) onion_signer: Arc<ldk::NodeSigner>,
    pub(super) logger: Arc<LdkLogger>,
    pub(super) node_id: PublicKey,
    pub(super) bitcoind: Arc<Bitcoind>,
    pub(super) chain_info: ChainInfo,
    pub(super) fees: Arc<FeeEstimates>,
    pub(super) broadcaster: Arc<Broadcaster>,
    pub(super) gate: Arc<Gate>,
    /// The gate as LDK's broadcaster.
    pub(super) ldk_broadcaster: Arc<ldk::Broadcaster>,
    pub(super) spends: Arc<FundingSpends>,
    pub(super) unfunded: Arc<UnfundedChannels>,
    /// The monitors as the manager sees them; tracks incomplete updates.
    pub(super) updates: Arc<Updates>,
    pub(super) wallet: Arc<Wallet>,
    pub(super) reserve: Arc<AnchorReserve>,
    pub(super) graph: Arc<NetworkGraph>,
    pub(super) scorer: Arc<Scorer>,
    pub(super) monitors: Arc<ChainMonitor>,
    /// Monitors read from the database, added to `monitors` once they have caught up with the chain.
    pub(super) stored_monitors: Vec<ChannelMonitor>,
    pub(super) manager: Arc<ChannelManager>,
    pub(super) sweeper: Arc<OutputSweeper>,
    pub(super) envelope_key: EnvelopeKey,
    pub(super) channel_config: UserConfig,
    /// Held while the node runs.
    pub(super) _lock: DirectoryLock,
    pub(super) stop: CancellationToken,
}

/// Reads the stored state and builds LDK's core objects from it.
pub(super) fn assemble(
    config: &Config,
    resources: Resources,
    stop: CancellationToken,
) -> Result<Core, StartError> {
    let best_block = resources.best_block();
    let (store, keys, fees) = (resources.store, resources.keys, resources.fees);
    let logger = Arc::new(LdkLogger);
    let node_id = node_id(&keys, config)?;
    let wallet = open_wallet(config, &store, resources.wallet_key, best_block)?;
    let ldk_fees: Arc<ldk::FeeEstimator> = fees.clone();
    let signers = channel_signers(&keys, &wallet);
    let on_chain = monitoring(&store, &resources.bitcoind, &signers, &ldk_fees, &logger)?;
    let (graph, scorer) = gossip(&store, config, &logger)?;
    let channel_config = user_config(&settings(config))?;
    let onion_signer: Arc<ldk::NodeSigner> = Arc::new(OnionSigner::new(keys.clone()));
    let manager = ManagerParts {
        store: &store,
        keys: &keys,
        onion_signer: onion_signer.clone(),
        signers,
        logger: &logger,
        updates: &on_chain.updates,
        broadcaster: &on_chain.ldk_broadcaster,
        fees: &ldk_fees,
        router: Arc::new(graph::router(&graph, &scorer, &keys, &logger)),
        message_router: Arc::new(DefaultMessageRouter::new(graph.clone(), keys.clone())),
        config: channel_config.clone(),
    }
    .read_or_new(config, best_block, &on_chain.stored_monitors)?;
    let sweeper = Arc::new(read_or_new_sweeper(
        &store,
        best_block,
        &on_chain.ldk_broadcaster,
        &ldk_fees,
        &keys,
        &wallet,
        &logger,
    )?);
    let reserve = anchor_reserve(&manager, &on_chain, &fees, &wallet);
    Ok(Core {
        store,
        keys,
        onion_signer,
        logger,
        node_id,
        bitcoind: resources.bitcoind,
        chain_info: resources.chain_info,
        fees,
        broadcaster: on_chain.broadcaster,
        gate: on_chain.gate,
        ldk_broadcaster: on_chain.ldk_broadcaster,
        spends: on_chain.spends,
        unfunded: on_chain.unfunded,
        updates: on_chain.updates,
        wallet,
        reserve,
        graph,
        scorer,
        monitors: on_chain.monitors,
        stored_monitors: on_chain.stored_monitors,
        manager,
        sweeper,
        envelope_key: resources.envelope_key,
        channel_config,
        _lock: resources.lock,
        stop,
    })
}

fn channel_signers(keys: &Arc<KeysManager>, wallet: &Arc<Wallet>) -> Arc<ChannelSigners> {
    Arc::new(ChannelSigners {
        keys: keys.clone(),
        wallet: wallet.clone(),
    })
}

fn anchor_reserve(
    manager: &Arc<ChannelManager>,
    on_chain: &Monitoring,
    fees: &Arc<FeeEstimates>,
    wallet: &Arc<Wallet>,
) -> Arc<AnchorReserve> {
    Arc::new(AnchorReserve::new(
        manager.clone(),
        on_chain.monitors.clone(),
        fees.clone(),
        wallet.clone(),
        on_chain.unfunded.clone(),
    ))
}

fn open_wallet(
    config: &Config,
    store: &Arc<Store>,
    key: seed::WalletKey,
    best_block: BestBlock,
) -> Result<Arc<Wallet>, StartError> {
    let adapters = Arc::new(StoreAdapters(store.clone()));
    let wallet = Wallet::open(
        key.get(),
        config.network,
        best_block,
        adapters.clone(),
        adapters,
    )?;
    Ok(Arc::new(wallet))
}

/// The objects that watch our channels on chain and broadcast for them.
struct Monitoring {
    broadcaster: Arc<Broadcaster>,
    gate: Arc<Gate>,
    ldk_broadcaster: Arc<ldk::Broadcaster>,
    spends: Arc<FundingSpends>,
    unfunded: Arc<UnfundedChannels>,
    updates: Arc<Updates>,
    monitors: Arc<ChainMonitor>,
    stored_monitors: Vec<ChannelMonitor>,
}

fn monitoring(
    store: &Arc<Store>,
    bitcoind: &Arc<Bitcoind>,
    signers: &Arc<ChannelSigners>,
    fees: &Arc<ldk::FeeEstimator>,
    logger: &Arc<LdkLogger>,
) -> Result<Monitoring, StartError> {
    let broadcaster = Arc::new(Broadcaster::new(bitcoind.clone()));
    let spends = Arc::new(FundingSpends::new(Arc::new(StoreAdapters(store.clone()))));
    spends.restore(store.agreed_closes()?.into_iter().map(Into::into));
    let unfunded = Arc::new(UnfundedChannels::default());
    let gate = Gate::new(store.clone(), spends.clone(), broadcaster.clone());
    let gate = Arc::new(gate);
    let ldk_broadcaster: Arc<ldk::Broadcaster> = gate.clone();
    let secret_only = Arc::new(SecretOnlyUpdates::default());
    let monitors: Arc<ChainMonitor> = Arc::new(ChainMonitor::new(
        None,
        ldk_broadcaster.clone(),
        logger.clone(),
        fees.clone(),
        Arc::new(MonitorStore {
            store: store.clone(),
            secret_only: secret_only.clone(),
        }),
        signers.keys.clone(),
        signers.keys.get_peer_storage_key(),
    ));
    gate.prioritize_by(BroadcastPriorities {
        monitors: monitors.clone(),
        unfunded: unfunded.clone(),
        spends: spends.clone(),
    });
    let updates = Arc::new(Updates::new(monitors.clone(), secret_only));
    let stored_monitors = MonitorReader {
        keys: signers.keys.clone(),
        signers: signers.clone(),
        broadcaster: ldk_broadcaster.clone(),
        fees: fees.clone(),
        logger: logger.clone(),
    }
    .read_all(store)?;
    Ok(Monitoring {
        broadcaster,
        gate,
        ldk_broadcaster,
        spends,
        unfunded,
        updates,
        monitors,
        stored_monitors,
    })
}

/// Reads the network graph and the scores of its channels.
fn gossip(
    store: &Store,
    config: &Config,
    logger: &Arc<LdkLogger>,
) -> Result<(Arc<NetworkGraph>, Arc<Scorer>), StartError> {
    let graph = Arc::new(graph::read_or_new_graph(
        network_graph(store)?.as_deref(),
        config.network,
        logger.clone(),
    ));
    let scorer = Arc::new(graph::read_or_new_scorer(
        scores(store)?.as_deref(),
        &graph,
        logger,
    ));
    Ok((graph, scorer))
}

fn node_id(keys: &KeysManager, config: &Config) -> Result<PublicKey, StartError> {
    keys.get_node_id(Recipient::Node)
        .map_err(|()| StartError::Seed {
            path: seed::path(&config.network_dir()),
            reason: "no node key can be derived from it".into(),
        })
}

fn settings(config: &Config) -> ChannelSettings {
    ChannelSettings {
        base_fee_msat: config.forwarding.base_fee_msat,
        fee_rate_ppm: config.forwarding.fee_rate_ppm,
        cltv_delta_blocks: config.forwarding.cltv_delta,
        min_channel_sat: config.min_channel_size_sat,
        max_dust_exposure_sat: config.max_dust_exposure_sat,
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

/// The arguments for reading or creating a channel manager.
struct ManagerParts<'a> {
    store: &'a Store,
    keys: &'a Arc<KeysManager>,
    onion_signer: Arc<ldk::NodeSigner>,
    signers: Arc<ldk::SignerProvider>,
    logger: &'a Arc<LdkLogger>,
    updates: &'a Arc<Updates>,
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
        best_block: BestBlock,
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
            self.onion_signer,
            self.signers,
            self.fees.clone(),
            self.updates.clone() as Arc<ldk::ChainWatch>,
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

    fn make(self, config: &Config, best_block: BestBlock) -> Result<ChannelManager, StartError> {
        let now = unix_time()?;
        Ok(ChannelManager::new(
            self.fees.clone(),
            self.updates.clone(),
            self.broadcaster.clone(),
            self.router,
            self.message_router,
            self.logger.clone(),
            self.keys.clone(),
            self.onion_signer,
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
    best_block: BestBlock,
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
    let wallet: Arc<dyn ChangeDestinationSourceSync + Send + Sync> = wallet.clone();
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
    <(BestBlock, OutputSweeper)>::read(&mut &bytes[..], args)
        .map(|(_, sweeper)| sweeper)
        .map_err(|error| StorageError::Damaged(format!("the sweeper's outputs: {error}")).into())
}

/// The Unix time in seconds, in the type that LDK expects.
pub(super) fn unix_time() -> Result<u32, StartError> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| StartError::Clock)?;
    Ok(u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}
