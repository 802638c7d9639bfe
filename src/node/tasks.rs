//! The tasks of a running node.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::background::spawn_background;
use super::components::Components;
use super::core::Core;
use super::critical_tasks::{CriticalTasks, TaskGroup};
use super::donations::Page;
use super::rebroadcast::Rebroadcast;
use super::reserve;
use super::store_adapters::StoreAdapters;
use crate::chain::sync::Following;
use crate::config::Config;
use crate::open_files;
use crate::peers::announce::{Announcement, Announcer};
use crate::peers::connection;
use crate::peers::listen::{self, Listener};
use crate::rpc::{self, Context};
use crate::web::Donations;

/// How long tasks may take to end at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// The tasks of a running node, in the two groups in which they are stopped.
pub(super) struct Tasks {
    pub(super) critical: CriticalTasks,
    /// Tasks that take calls and messages.
    pub(super) foreground: TaskGroup,
    /// Tasks that run until no other can change channels: LDK's event loop, and what it needs.
    pub(super) background: TaskGroup,
}

impl Tasks {
    /// No task runs yet. `stop` ends the foreground, and is cancelled if a critical task ends.
    pub(super) fn new(stop: CancellationToken) -> Self {
        let critical = CriticalTasks::new(stop.clone());
        Self {
            foreground: critical.group(stop),
            background: critical.group(CancellationToken::new()),
            critical,
        }
    }

    /// Starts everything that needs no client: the chain, LDK's event loop, peers, timers.
    pub(super) fn run_node(
        &self,
        config: &Config,
        core: &Core,
        components: &Components,
        following: &Following,
        announcement: Announcement,
        peer_sockets: Vec<TcpListener>,
    ) {
        self.run_chain(core, following);
        self.run_broadcasts(core, components);
        spawn_background(&self.background, config, core, components);
        let peer_storage = components.peer_storage.clone();
        self.background.spawn("peer storage", |stop| async move {
            peer_storage.run(stop).await;
        });
        self.watch_writer(core);
        let announcer = Announcer::new(
            components.peer_manager.clone(),
            core.graph.clone(),
            &core.node_id,
            announcement,
        );
        self.foreground
            .spawn("node announcements", |stop| async move {
                announcer.run(stop).await;
            });
        self.run_peers(core, components, peer_sockets);
        let registry = components.invoices.clone();
        self.foreground.spawn("invoice timers", |stop| async move {
            registry.run_timers(stop).await;
        });
    }

    /// Serves the donation page.
    pub(super) fn serve_page(&self, page: Page) -> Arc<Donations> {
        page.spawn(self.foreground.tracker(), self.foreground.token())
    }

    /// Serves the API.
    pub(super) fn serve_api(&self, context: Context, listeners: rpc::Listeners) {
        self.foreground.spawn("RPC server", |stop| async move {
            if let Err(error) = rpc::serve(Arc::new(context), listeners, stop).await {
                tracing::error!("RPC server stopped: {error}");
            }
        });
    }

    /// Watches the database writer, a thread that outlives all tasks.
    fn watch_writer(&self, core: &Core) {
        let store = core.store.clone();
        self.foreground.spawn("database writer", |stop| async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = store.ended() => {}
            }
        });
    }

    fn run_chain(&self, core: &Core, following: &Following) {
        let (fees, bitcoind) = (core.fees.clone(), core.bitcoind.clone());
        self.foreground.spawn("fee estimates", |stop| async move {
            fees.keep_fresh(&bitcoind, stop).await;
        });
        let reserve = core.reserve.clone();
        self.foreground.spawn("anchor reserve monitor", |stop| {
            reserve::watch(reserve, stop)
        });
        let rebroadcast = Rebroadcast {
            wallet: core.wallet.clone(),
            spends: core.spends.clone(),
            gate: core.gate.clone(),
            following: following.clone(),
        };
        self.foreground.spawn("rebroadcasts", |stop| async move {
            rebroadcast.run(stop).await;
        });
    }

    /// Spawned among the background tasks, because LDK may broadcast until its event loop ends.
    fn run_broadcasts(&self, core: &Core, components: &Components) {
        let (gate, bumper) = (core.gate.clone(), components.bumper.clone());
        self.background.spawn("broadcast gate", |stop| async move {
            gate.run(&bumper, stop).await;
        });
        let broadcaster = core.broadcaster.clone();
        self.background.spawn("broadcaster", |stop| async move {
            broadcaster.run(stop).await;
        });
    }

    fn run_peers(&self, core: &Core, components: &Components, sockets: Vec<TcpListener>) {
        let listener = Arc::new(Listener::new(
            connection::Context {
                peers: components.peer_manager.clone(),
                commits: Arc::new(StoreAdapters(core.store.clone())),
            },
            components.funded_peers.clone(),
            listen::bounds(open_files::limit()),
        ));
        for socket in sockets {
            let listener = listener.clone();
            self.foreground.spawn("peer listener", |stop| async move {
                listener.run(socket, stop).await;
            });
        }
        let reconnector = components.reconnector.clone();
        self.foreground
            .spawn("peer connections", |stop| async move {
                reconnector.run(stop).await;
            });
        let queries = components.gossip_queries.clone();
        self.foreground
            .spawn("gossip queries", |stop| queries.run(stop));
    }
}

/// Stops the tasks of a group. Logs a warning if they do not end in time.
pub(super) async fn stop(what: &str, tasks: &TaskGroup) {
    if !tasks.stop(SHUTDOWN_TIMEOUT).await {
        tracing::warn!("{what} did not end within the shutdown timeout");
    }
}
