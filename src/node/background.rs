//! Background tasks: LDK's event loop, timer ticks, and immediate HTLC processing.

use std::sync::Arc;
use std::time::Duration;

use lightning_background_processor::{
    GossipSync as BackgroundGossip, NO_LIQUIDITY_MANAGER, process_events_async_with_kv_store_sync,
};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::core::Core;
use super::graph_keeper::GraphKeeper;
use super::house::{House, broadcast_commitment};
use super::ticks;
use super::unfunded::Unfunded;
use super::vital::Vital;
use super::watched::Watched;
use crate::config::Config;
use crate::ldk::{ChannelManager, KeyValueStore};
use crate::peers::PeerManager;

/// How long to poll after activity: HTLCs become ready as commits complete, and LDK has no future
/// that signals just this.
const BUSY: Duration = Duration::from_millis(100);
const BUSY_POLL: Duration = Duration::from_millis(4);

/// Spawns LDK's event loop, timer ticks, HTLC processing and persistence of the graph.
pub(super) fn spawn_background(
    vital: &Vital,
    background: &TaskTracker,
    config: &Config,
    core: &Core,
    house: &House,
    stop_background: &CancellationToken,
) {
    let processor = background_processor(core, house, stop_background.clone());
    vital.spawn(background, "LDK event loop", processor);
    let events = house.events.clone();
    let pending_decisions = move || events.channels.has_pending_decisions();
    let ticks = ticks::run(
        core.manager.clone(),
        pending_decisions,
        stop_background.clone(),
    );
    vital.spawn(background, "LDK timer ticks", ticks);
    let unfunded = Unfunded {
        bitcoind: core.bitcoind.clone(),
        strangers: core.strangers.clone(),
        spends: core.spends.clone(),
        manager: core.manager.clone(),
        monitors: core.monitors.clone(),
        updates: core.updates.clone(),
        broadcast_commitment: broadcast_commitment(core, &house.events),
    };
    let unfunded = unfunded.run(stop_background.clone());
    vital.spawn(background, "funding monitor", unfunded);
    let keeper = GraphKeeper {
        graph: core.graph.clone(),
        store: core.store.clone(),
    };
    let ended = stop_background.clone();
    vital.spawn(background, "network graph persistence", async move {
        keeper.run(ended).await;
    });
    let pump = Pump {
        manager: core.manager.clone(),
        peers: house.peer_manager.clone(),
        wake: house.wake.clone(),
        forward_at_once: !config.forwarding.delay,
    };
    let ended = stop_background.clone();
    vital.spawn(background, "HTLC processing", async move {
        pump.run(ended).await;
    });
}

fn background_processor(
    core: &Core,
    house: &House,
    stop_background: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let events = house.events.clone();
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
    let manager = Arc::new(Watched {
        manager: core.manager.clone(),
        store: core.store.clone(),
    });
    let onion_messenger = house.onion_messenger.clone();
    let gossip = BackgroundGossip::p2p(house.gossip.clone());
    let (peers, sweeper) = (house.peer_manager.clone(), core.sweeper.clone());
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

/// Processes HTLCs as soon as they are ready, and sends messages as soon as their commit completes.
///
/// LDK's own loop waits about 50 ms (log-normal) before it processes forwards and received HTLCs.
/// The delay improves the privacy of forwards at the cost of latency; `forward-delay` enables it.
struct Pump {
    manager: Arc<ChannelManager>,
    peers: Arc<PeerManager>,
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
        self.peers.process_events();
        true
    }
}
