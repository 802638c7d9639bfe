//! The running node: chain catch-up, all tasks, and shutdown.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Txid;
use lightning::ln::msgs::BaseMessageHandler;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use super::background::spawn_background;
use super::core::Core;
use super::gate::Gate;
use super::house::House;
use super::inbound_htlcs::NodeChannelMessages;
use super::metrics;
use super::rebroadcast::Rebroadcast;
use super::vital::{Broken, Vital};
use super::{callers, catch_up, donations, reserve};
use crate::chain::sync::Following;
use crate::chain::{Broadcaster, Fundings};
use crate::channels::policy;
use crate::config::Config;
use crate::log_levels::LogLevels;
use crate::open_files;
use crate::peers::address;
use crate::peers::announce::{Announcement, Announcer};
use crate::peers::list::feature_bits;
use crate::peers::listen::{self, Listener};
use crate::routing::asked_route::Routes;
use crate::rpc::Bakery;
use crate::rpc::{self, Context};
use crate::storage::{DirectoryLock, StorageError, Store};
use ampd_files::Readers;

/// How long tasks may take to end at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);
/// File with the actual P2P listen addresses, for programs that start the node with port 0.
const LISTEN_ADDRESS_FILE: &str = "listen.address";

/// The tasks of a running node and what is needed to stop them.
pub(super) struct Tasks {
    store: Arc<Store>,
    stop: CancellationToken,
    /// Cancelled once no other task can change channels.
    stop_background: CancellationToken,
    vital: Vital,
    tracker: TaskTracker,
    background: TaskTracker,
    house: House,
    gate: Arc<Gate>,
    broadcaster: Arc<Broadcaster>,
    directory: PathBuf,
    _lock: DirectoryLock,
}

impl Tasks {
    /// Catches up with the chain and starts all tasks.
    pub(super) async fn start(
        config: &Config,
        mut core: Core,
        stop: CancellationToken,
        levels: LogLevels,
    ) -> Result<Self, StartError> {
        let others = catch_up::all_but_manager(&mut core).await?;
        let house = House::build(config, &core)?;
        house.invoices.restore()?;
        let caught_up = catch_up::manager(&core, others).await?;
        let unfinished = house.payments.restore()?;
        free_unused_fundings(&core);
        policy::limit_dust(
            &core.manager,
            core.channel_config.channel_config.max_dust_htlc_exposure,
        );
        let announcement = announcement(config)?;
        let sockets = listen::bind(&config.listen)?;
        let page = donations::open(config, &core, &house).await?;
        let (listeners, bakery) = callers::open(config, &core.store).await?;
        let directory = config.network_dir();
        let listening: Vec<SocketAddr> = sockets
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect();
        write_listening(&directory, &listening)?;

        let tracker = TaskTracker::new();
        if let Some(address) = config.metrics_listen {
            metrics::serve(address, &tracker, stop.clone())?;
        }
        let vital = Vital::new(stop.clone());
        let background = TaskTracker::new();
        let stop_background = CancellationToken::new();
        let (following, follow) = caught_up.follow(
            house.listener.clone(),
            config.bitcoind.poll_interval,
            stop.clone(),
        );
        vital.spawn(&tracker, "chain sync", follow);
        spawn_chain_tasks(&vital, &tracker, &core, &following, &stop);
        spawn_broadcasts(&vital, &background, &core, &house, &stop_background);
        spawn_background(&vital, &background, config, &core, &house, &stop_background);
        let (peer_storage, ended) = (house.peer_storage.clone(), stop_background.clone());
        vital.spawn(&background, "peer storage", async move {
            peer_storage.run(ended).await;
        });
        watch_writer(&vital, &tracker, &core, &stop);
        let announcer = Announcer::new(
            house.peer_manager.clone(),
            core.graph.clone(),
            &core.node_id,
            announcement,
        );
        let ended = stop.clone();
        vital.spawn(&tracker, "node announcements", async move {
            announcer.run(ended).await;
        });
        spawn_peers(&vital, &tracker, &house, sockets, &stop);
        let registry = house.invoices.clone();
        let ended = stop.clone();
        vital.spawn(&tracker, "invoice timers", async move {
            registry.run_timers(ended).await;
        });
        house.payments.resume(unfinished);
        let donations = page.map(|page| page.spawn(&tracker, &stop));
        let context = Arc::new(Context {
            donations,
            ..context(config, &core, &house, bakery, following, listening, levels)
        });
        let ended = stop.clone();
        vital.spawn(&tracker, "RPC server", async move {
            if let Err(error) = rpc::serve(context, listeners, ended).await {
                tracing::error!("RPC server stopped: {error}");
            }
        });
        tracing::info!(node_id = %core.node_id, "ampd is ready");
        Ok(Self {
            store: core.store,
            stop,
            stop_background,
            vital,
            tracker,
            background,
            house,
            gate: core.gate,
            broadcaster: core.broadcaster,
            directory,
            _lock: core.lock,
        })
    }

    /// Completes when the node has to stop.
    ///
    /// # Errors
    /// [`Broken`] if a critical task ended.
    pub(super) async fn stopped(&self) -> Result<(), Broken> {
        self.stop.cancelled().await;
        self.vital.broken().map_or(Ok(()), Err)
    }

    /// Stops peers and API listeners first, then LDK's event loop, then pending broadcasts, and the
    /// database writer last: nothing may change state after the final commit.
    pub(super) async fn stop(self) -> Result<(), StorageError> {
        self.stop.cancel();
        self.house.peer_manager.disconnect_all_peers();
        drain("tasks", &self.tracker).await;
        self.stop_background.cancel();
        drain("background tasks", &self.background).await;
        self.gate.finish(&self.house.bumper).await;
        self.broadcaster.finish().await;
        callers::forget_addresses(&self.directory);
        donations::forget_address(&self.directory);
        // Only a hint for other programs; the next start writes it again.
        let _ = std::fs::remove_file(self.directory.join(LISTEN_ADDRESS_FILE));
        let store = self.store;
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        closed.unwrap_or_else(|error| Err(StorageError::Unwritten(error.to_string())))
    }
}

async fn drain(what: &str, tracker: &TaskTracker) {
    tracker.close();
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, tracker.wait())
        .await
        .is_err()
    {
        tracing::warn!("{what} did not end within the shutdown timeout");
    }
}

/// Releases the coins of funding transactions that belong to no channel: they were signed just before
/// a crash and never left this node, and LDK has forgotten the channel. Monitors are checked as well,
/// because a channel that closed before its funding confirmed is known only by its monitor.
fn free_unused_fundings(core: &Core) {
    let channels = core.manager.list_channels();
    let open = channels.iter().filter_map(|channel| channel.funding_txo);
    let monitors = core.monitors.list_monitors().into_iter();
    let watched = monitors
        .filter_map(|id| core.monitors.get_monitor(id).ok())
        .map(|monitor| monitor.get_funding_txo());
    let known: HashSet<Txid> = open.chain(watched).map(|output| output.txid).collect();
    let held = core.wallet.held().into_iter();
    for txid in held.filter(|txid| !known.contains(txid)) {
        if let Err(error) = core.wallet.cancel(txid) {
            tracing::warn!(%txid, "cannot release an unused funding transaction: {error}");
        }
    }
}

fn announcement(config: &Config) -> Result<Announcement, StartError> {
    let alias = config.alias.as_ref().map_or("", |alias| alias.as_str());
    let addresses: Vec<String> = config
        .external_addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok(Announcement::parse(
        &config.color.to_string(),
        alias,
        &addresses,
    )?)
}

fn write_listening(directory: &Path, listening: &[SocketAddr]) -> Result<(), StartError> {
    let lines: Vec<String> = listening.iter().map(ToString::to_string).collect();
    let text = lines.join("\n") + "\n";
    let path = directory.join(LISTEN_ADDRESS_FILE);
    ampd_files::replace(&path, text.as_bytes(), Readers::Owner)?;
    Ok(())
}

/// Watches the database writer, a thread that outlives all tasks.
fn watch_writer(vital: &Vital, tracker: &TaskTracker, core: &Core, stop: &CancellationToken) {
    let (store, ended) = (core.store.clone(), stop.clone());
    vital.spawn(tracker, "database writer", async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = store.ended() => {}
        }
    });
}

fn spawn_chain_tasks(
    vital: &Vital,
    tracker: &TaskTracker,
    core: &Core,
    following: &Following,
    stop: &CancellationToken,
) {
    let (fees, bitcoind, ended) = (core.fees.clone(), core.bitcoind.clone(), stop.clone());
    vital.spawn(tracker, "fee estimates", async move {
        fees.keep_fresh(&bitcoind, ended).await;
    });
    let watch = reserve::watch(core.reserve.clone(), stop.clone());
    vital.spawn(tracker, "anchor reserve monitor", watch);
    let rebroadcast = Rebroadcast {
        wallet: core.wallet.clone(),
        spends: core.spends.clone(),
        gate: core.gate.clone(),
        following: following.clone(),
    };
    let ended = stop.clone();
    vital.spawn(tracker, "rebroadcasts", async move {
        rebroadcast.run(ended).await;
    });
}

/// Spawned among the background tasks, because LDK may broadcast until its event loop ends.
fn spawn_broadcasts(
    vital: &Vital,
    background: &TaskTracker,
    core: &Core,
    house: &House,
    stop_background: &CancellationToken,
) {
    let (gate, bumper) = (core.gate.clone(), house.bumper.clone());
    let ended = stop_background.clone();
    vital.spawn(background, "broadcast gate", async move {
        gate.run(&bumper, ended).await;
    });
    let (broadcaster, ended) = (core.broadcaster.clone(), stop_background.clone());
    vital.spawn(background, "broadcaster", async move {
        broadcaster.run(ended).await;
    });
}

fn spawn_peers(
    vital: &Vital,
    tracker: &TaskTracker,
    house: &House,
    sockets: Vec<TcpListener>,
    stop: &CancellationToken,
) {
    let listener = Arc::new(Listener::new(
        house.peer_manager.clone(),
        house.funded_peers.clone(),
        listen::bounds(open_files::limit()),
    ));
    for socket in sockets {
        let (listener, ended) = (listener.clone(), stop.clone());
        vital.spawn(tracker, "peer listener", async move {
            listener.run(socket, ended).await;
        });
    }
    let (reconnector, ended) = (house.reconnector.clone(), stop.clone());
    vital.spawn(tracker, "peer connections", async move {
        reconnector.run(ended).await;
    });
    let queries = house.gossip_queries.clone().run(stop.clone());
    vital.spawn(tracker, "gossip queries", queries);
}

fn routes(core: &Core) -> Routes {
    Routes::new(
        core.graph.clone(),
        core.scorer.clone(),
        core.keys.clone(),
        core.logger.clone(),
        core.node_id,
    )
}

/// The feature bits that we send in `init` and `node_announcement`.
fn own_features(core: &Core, messages: &NodeChannelMessages) -> Vec<u32> {
    let init = messages.provided_init_features(core.node_id);
    let mut bits = feature_bits(init.le_flags());
    bits.extend(feature_bits(messages.provided_node_features().le_flags()));
    bits
}

fn context(
    config: &Config,
    core: &Core,
    house: &House,
    bakery: Arc<Bakery>,
    chain: Following,
    listening: Vec<SocketAddr>,
    levels: LogLevels,
) -> Context {
    Context {
        network: config.network,
        node_id: core.node_id,
        alias: config
            .alias
            .as_ref()
            .map(|alias| alias.as_str().to_owned())
            .unwrap_or_default(),
        color: config.color.to_string(),
        external_addresses: config
            .external_addresses
            .iter()
            .map(address::text)
            .collect(),
        listening,
        features: own_features(core, &house.events.channel_messages),
        cltv_delta: config.forwarding.cltv_delta.into(),
        manager: core.manager.clone(),
        monitors: core.monitors.clone(),
        peer_manager: house.peer_manager.clone(),
        graph: core.graph.clone(),
        chain,
        fees: core.fees.clone(),
        broadcaster: core.broadcaster.clone(),
        wallet: core.wallet.clone(),
        reserve: core.reserve.clone(),
        sweeper: core.sweeper.clone(),
        connector: house.connector.clone(),
        reconnector: house.reconnector.clone(),
        opener: house.opener.clone(),
        closer: house.closer.clone(),
        spends: core.spends.clone(),
        payments: house.payments.clone(),
        routes: Arc::new(routes(core)),
        invoices: house.invoices.clone(),
        donations: None,
        bakery,
        store: core.store.clone(),
        stop: core.stop.clone(),

        keys: core.keys.clone(),
        fundings: Arc::new(Fundings::new(core.bitcoind.clone())),
        channel_feed: house.events.channels.feed().clone(),
        acceptors: house.events.channels.acceptors().clone(),
        htlc_feed: house.events.channels.htlcs().clone(),
        custom_messages: house.custom_messages.clone(),
        levels: Arc::new(levels),
    }
}
