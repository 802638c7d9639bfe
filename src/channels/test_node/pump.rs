//! Passes LDK's events to this module, as the node module does.

use std::sync::Arc;
use std::time::Duration;

use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::events::bump_transaction::BumpTransactionEvent;
use lightning::events::{Event, EventsProvider};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::parts::Broadcasts;
use crate::channels::closed::Closure;
use crate::channels::events::Channels;
use crate::channels::inbound_request::Request;
use crate::ldk::{ChainMonitor, ChannelManager};
use crate::peers::PeerManager;

/// The event loop of a test node.
pub struct Pump {
    pub manager: Arc<ChannelManager>,
    pub monitors: Arc<ChainMonitor>,
    pub peers: Arc<PeerManager>,
    pub network: Arc<Broadcasts>,
    pub channels: Channels,
    pub events: mpsc::UnboundedSender<Event>,
}

impl Pump {
    pub async fn run(self, turns: watch::Sender<u64>, stop: CancellationToken) {
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
        match event {
            Event::OpenChannelRequest {
                temporary_channel_id,
                counterparty_node_id,
                funding_satoshis,
                channel_negotiation_type,
                channel_type,
                is_announced,
                params,
            } => self.channels.open_channel_request(Request {
                temporary_channel_id,
                counterparty_node_id,
                funding_satoshis,
                channel_negotiation_type,
                channel_type,
                is_announced,
                params,
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
                funding_redeem_script,
                ..
            } => self.channels.channel_pending(
                channel_id,
                user_channel_id,
                counterparty_node_id,
                funding_txo,
                funding_redeem_script,
            ),
            Event::ChannelReady {
                channel_id,
                user_channel_id,
                counterparty_node_id,
                ..
            } => {
                self.channels
                    .channel_ready(channel_id, user_channel_id, counterparty_node_id);
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
