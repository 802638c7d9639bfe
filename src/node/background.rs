//! Background tasks: LDK's event loop, timer ticks, and immediate HTLC processing.

use std::sync::Arc;
use std::time::Duration;

use lightning::events::EventsProvider;
use lightning_background_processor::{
    GossipSync as BackgroundGossip, NO_LIQUIDITY_MANAGER, process_events_async_with_kv_store_sync,
};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::components::{Components, broadcast_commitment};
use super::core::Core;
use super::critical_tasks::TaskGroup;
use super::events::EventHandler;
use super::graph_persister::GraphPersister;
use super::timer_ticks;
use super::unfunded::Unfunded;
use super::unpersisted_manager::UnpersistedManager;
use crate::config::Config;
use crate::ldk::{ChannelManager, KeyValueStore};
use crate::peers::PeerManager;

/// How long to poll after activity: HTLCs become ready as commits complete, and LDK has no future
/// that signals just this.
const BUSY: Duration = Duration::from_millis(100);
const BUSY_POLL: Duration = Duration::from_millis(4);

/// Spawns LDK's event loop, timer ticks, HTLC processing and persistence of the graph.
pub(super) fn spawn_background(
    tasks: &TaskGroup,
    config: &Config,
    core: &Core,
    components: &Components,
) {
    tasks.spawn("LDK event loop", |stop| {
        background_processor(core, components, stop)
    });
    let events = components.events.clone();
    let has_pending = move || events.channels.has_pending_decisions();
    let manager = core.manager.clone();
    tasks.spawn("LDK timer ticks", |stop| {
        timer_ticks::run(manager, has_pending, stop)
    });
    let unfunded = unfunded(core, components);
    tasks.spawn("funding monitor", |stop| unfunded.run(stop));
    let persister = GraphPersister {
        graph: core.graph.clone(),
        store: core.store.clone(),
    };
    tasks.spawn("network graph persistence", |stop| async move {
        persister.run(stop).await;
    });
    let pump = Pump {
        manager: core.manager.clone(),
        peers: components.peer_manager.clone(),
        events: components.events.clone(),
        wake: components.wake.clone(),
        forward_at_once: !config.forwarding.delay,
    };
    tasks.spawn("HTLC processing", |stop| async move {
        pump.run(stop).await;
    });
}

fn unfunded(core: &Core, components: &Components) -> Unfunded {
    Unfunded {
        bitcoind: core.bitcoind.clone(),
        unfunded: core.unfunded.clone(),
        spends: core.spends.clone(),
        manager: core.manager.clone(),
        monitors: core.monitors.clone(),
        updates: core.updates.clone(),
        broadcast_commitment: broadcast_commitment(core, &components.events),
    }
}

fn background_processor(
    core: &Core,
    components: &Components,
    stop_background: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let events = components.events.clone();
    let handler = move |event| {
        let events = events.clone();
        async move { events.handle(event) }
    };
    let kv: Arc<KeyValueStore> = core.store.clone();
    let sleeper = move |duration: Duration| {
        let ended = stop_background.clone();
        Box::pin(async move {
            tokio::select! {
                () = ended.cancelled() => true,
                () = tokio::time::sleep(duration) => false,
            }
        })
    };
    let clock = || {
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH).ok()
    };
    let monitors = core.monitors.clone();
    let manager = Arc::new(UnpersistedManager {
        manager: core.manager.clone(),
        store: core.store.clone(),
    });
    let onion_messenger = components.onion_messenger.clone();
    let gossip = BackgroundGossip::p2p(components.gossip.clone());
    let (peers, sweeper) = (components.peer_manager.clone(), core.sweeper.clone());
    let (logger, scorer) = (core.logger.clone(), core.scorer.clone());
    async move {
        let ended = process_events_async_with_kv_store_sync(
            kv,
            handler,
            monitors,
            manager,
            Some(onion_messenger),
            gossip,
            peers,
            NO_LIQUIDITY_MANAGER,
            Some(sweeper),
            logger,
            Some(scorer),
            sleeper,
            false,
            clock,
        )
        .await;
        if let Err(error) = ended {
            tracing::error!("LDK event loop ended: {error}");
        }
    }
}

/// Processes HTLCs and their events as soon as they are ready, and sends messages as soon as their commit
/// completes.
///
/// LDK's own loop waits about 50 ms (log-normal) before it processes forwards and received HTLCs.
/// The delay improves the privacy of forwards at the cost of latency; `forward-delay` enables it.
struct Pump {
    manager: Arc<ChannelManager>,
    peers: Arc<PeerManager>,
    events: Arc<EventHandler>,
    wake: Arc<Notify>,
    forward_at_once: bool,
}

impl Pump {
    async fn run(&self, stop: CancellationToken) {
        let mut busy_until = Instant::now();
        loop {
            let busy = Instant::now() < busy_until;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => busy_until = Instant::now() + BUSY,
                () = tokio::time::sleep(BUSY_POLL), if busy => {}
            }
            if self.turn() {
                busy_until = Instant::now() + BUSY;
            }
        }
    }

    fn turn(&self) -> bool {
        self.peers.process_events();
        if !self.forward_at_once || !self.manager.needs_pending_htlc_processing() {
            return false;
        }
        self.manager.process_pending_htlc_forwards();
        // LDK's loop would handle them, too, when it wakes up.
        self.manager
            .process_pending_events(&|event| self.events.handle(event));
        self.peers.process_events();
        true
    }
}
