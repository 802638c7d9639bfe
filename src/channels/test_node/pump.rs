//! Passes LDK's events to this module, as the node module does.

use std::sync::Arc;
use std::time::Duration;

use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::events::bump_transaction::BumpTransactionEvent;
use lightning::events::{Event, EventsProvider};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::parts::Broadcasts;
use crate::channels::events::EventHandler;
use crate::ldk::{ChainMonitor, ChannelManager};
use crate::peers::PeerManager;

/// The event loop of a test node.
pub(super) struct Pump {
    pub manager: Arc<ChannelManager>,
    pub monitors: Arc<ChainMonitor>,
    pub peers: Arc<PeerManager>,
    pub network: Arc<Broadcasts>,
    pub channels: EventHandler,
    pub events: mpsc::UnboundedSender<Event>,
}

impl Pump {
    pub(super) async fn run(self, turns: watch::Sender<u64>, stop: CancellationToken) {
        loop {
            // Connecting and disconnecting do not wake the event loop, so tests would wait forever.
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
        let Some(event) = self.channels.handle(event) else {
            return;
        };
        match event {
            Event::BumpTransaction(BumpTransactionEvent::ChannelClose {
                commitment_tx, ..
            }) => self.network.broadcast_transactions(&[&commitment_tx]),
            other => drop(self.events.send(other)),
        }
    }
}
