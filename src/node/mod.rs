//! The composition root: builds the other modules in the required order, runs them and stops them.
//!
//! [`Node::start`] opens files, database and bitcoind (`resources`), reads LDK's state from them
//! (`core`), connects the other modules to it (`components`), catches up with the chain
//! (`startup_sync`), binds the sockets (`listeners`) and starts the tasks (`tasks`, `background`).
//! `events` passes on LDK's events. No other module depends on all the others.

mod api_listeners;
mod background;
mod broadcast_priorities;
mod bump;
mod chain_listener;
mod components;
mod core;
mod critical_tasks;
mod donations;
mod error;
mod events;
mod funding;
mod gate;
mod gossip_queries;
mod graph_persister;
mod inbound_htlcs;
mod known_peers;
mod listeners;
mod metrics;
mod networking;
mod onion_signer;
mod outbound_htlcs;
mod peer_channels;
mod rebroadcast;
mod reserve;
mod resources;
mod rpc_context;
mod seed;
mod snapshot;
mod startup_sync;
mod store_adapters;
mod tasks;
mod timer_ticks;
mod unfunded;
mod unpersisted_manager;
mod updates;

use std::collections::HashSet;
use std::path::PathBuf;

use bitcoin::Txid;
use tokio_util::sync::CancellationToken;

pub use critical_tasks::Broken;
pub use error::StartError;
pub use inbound_htlcs::ManagerInboundHtlcs;
pub use outbound_htlcs::ManagerOutboundHtlcs;
pub use peer_channels::ManagerPeers;

use crate::channels::policy;
use crate::config::Config;
use crate::log_levels::LogLevels;
use crate::open_files;
use crate::peers::announce::Announcement;
use crate::storage::{StorageError, Store};
use components::Components;
use core::Core;
use listeners::Listeners;
use tasks::Tasks;

/// A running node.
pub struct Node {
    core: Core,
    components: Components,
    tasks: Tasks,
    directory: PathBuf,
}

impl Node {
    /// Starts a node. When this returns, it listens for peers and API clients. `levels` lets API
    /// clients change the log level.
    ///
    /// # Errors
    /// [`StartError`]: one line that says what is wrong and what to do. Existing files are never
    /// overwritten.
    pub async fn start(config: &Config, levels: LogLevels) -> Result<Self, StartError> {
        open_files::raise_limit();
        let stop = CancellationToken::new();
        let resources = resources::open(config, &stop).await?;
        let core = core::assemble(config, resources, stop)?;
        let store = core.store.clone();
        tokio::select! {
            node = Self::run(config, core, levels) => node,
            () = store.ended() => Err(why_ended(&store).into()),
        }
    }

    /// Connects the other modules to LDK's core, catches up with the chain, and starts all tasks.
    async fn run(config: &Config, mut core: Core, levels: LogLevels) -> Result<Self, StartError> {
        let others = startup_sync::all_but_manager(&mut core).await?;
        let components = Components::build(config, &core)?;
        components.invoices.restore()?;
        let caught_up = startup_sync::manager(&core, others).await?;
        let unfinished = components.payments.restore()?;
        free_unused_fundings(&core);
        let channel_config = core.channel_config.channel_config;
        policy::limit_dust(&core.manager, channel_config.max_dust_htlc_exposure);
        let announcement = announcement(config)?;
        let listeners = Listeners::open(config, &core, &components).await?;

        let tasks = Tasks::new(core.stop.clone());
        if let Some(address) = config.metrics_listen {
            metrics::serve(address, tasks.foreground.tracker(), core.stop.clone())?;
        }
        let (block_listener, interval) =
            (components.listener.clone(), config.bitcoind.poll_interval);
        let (following, follow) = caught_up.follow(block_listener, interval, core.stop.clone());
        tasks.foreground.spawn("chain sync", |_| follow);
        tasks.run_node(
            config,
            &core,
            &components,
            &following,
            announcement,
            listeners.peers,
        );
        components.payments.resume(unfinished);
        let donations = listeners.donation_page.map(|page| tasks.serve_page(page));
        let context = rpc_context::context(
            config,
            &core,
            &components,
            following,
            donations,
            listeners.bakery,
            levels,
        );
        tasks.serve_api(context, listeners.api);
        tracing::info!(node_id = %core.node_id, "ampd is ready");
        Ok(Self {
            core,
            components,
            tasks,
            directory: config.network_dir(),
        })
    }

    /// Completes when an API client has requested a shutdown.
    ///
    /// # Errors
    /// [`Broken`] if the node has to shut down because a critical task ended. [`Node::stop`] must be
    /// called in this case as well.
    pub async fn stopped(&self) -> Result<(), Broken> {
        self.core.stop.cancelled().await;
        self.tasks.critical.broken().map_or(Ok(()), Err)
    }

    /// Stops all tasks and commits pending changes: peers and API listeners first, then LDK's event
    /// loop, then pending broadcasts, and the database writer last, because nothing may change state
    /// after the final commit.
    ///
    /// # Errors
    /// If not everything could be written. The next start continues from the last commit.
    pub async fn stop(self) -> Result<(), StorageError> {
        self.core.stop.cancel();
        self.components.peer_manager.disconnect_all_peers();
        tasks::stop("tasks", &self.tasks.foreground).await;
        tasks::stop("background tasks", &self.tasks.background).await;
        self.core.gate.finish(&self.components.bumper).await;
        self.core.broadcaster.finish().await;
        listeners::forget_addresses(&self.directory);
        let store = self.core.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        closed.unwrap_or_else(|error| Err(StorageError::Unwritten(error.to_string())))
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

/// Returns the reason why the database writer ended before the store was closed.
fn why_ended(store: &Store) -> StorageError {
    let why = || StorageError::Unwritten("the writer ended".into());
    store.close().err().unwrap_or_else(why)
}
