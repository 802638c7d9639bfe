//! Extends LDK's gossip handler with early updates and gossip queries.
//!
//! Channel updates that arrive before their channel is in the graph are kept. Checking an announcement
//! against the chain takes a while. LDK holds updates that arrive during the check, except in two cases: an
//! update that a peer accepted just before relaying the announcement arrives here first, and one that
//! arrives between the end of the check and the channel's insertion is dropped. A dropped update is not
//! sent again until a new connection, and LDK routes over a channel only if it knows both directions, so the
//! channel would be unusable until then. lnd keeps early updates as well. Core Lightning does not; it gets
//! ours again once it has announced our channel (`own_update`).
//!
//! Peers' queries go to [`Answers`], and replies to our queries to [`Asker`]. LDK ignores all of these except
//! query_channel_range.

use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    BaseMessageHandler, ChannelAnnouncement, ChannelUpdate, ErrorAction, Init, LightningError,
    MessageSendEvent, NodeAnnouncement, QueryChannelRange, QueryShortChannelIds, ReplyChannelRange,
    ReplyShortChannelIdsEnd, RoutingMessageHandler, WarningMessage,
};
use lightning::ln::types::ChannelId;
use lightning::routing::gossip::NodeId;
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::logger::Level;

use super::answers::{Answers, AskedTooEarly};
use super::asker::Asker;
use super::own_update::update_for;
use super::waiting_updates::WaitingUpdates;
use crate::ldk::NetworkGraph;
use crate::sync::lock;

/// The maximum number of bytes beyond BOLT 7's fields in a kept update. LDK relays no larger ones; a message
/// could have 65 kB of them.
const MAX_EXCESS_BYTES: usize = 1_024;

/// A gossip handler that keeps early updates and handles both sides of gossip queries.
pub struct GossipHandler<G> {
    inner: Arc<G>,
    graph: Arc<NetworkGraph>,
    own_id: NodeId,
    answers: Arc<Answers>,
    asker: Arc<Asker>,
    waiting: Mutex<WaitingUpdates>,
    /// Updates to send to peers: early ones accepted later, and our own.
    outgoing: Mutex<Vec<MessageSendEvent>>,
}

impl<G: RoutingMessageHandler> GossipHandler<G> {
    /// Wraps `inner`, which fills `graph`, for the node `own_id`.
    pub fn new(
        inner: Arc<G>,
        graph: Arc<NetworkGraph>,
        own_id: NodeId,
        answers: Arc<Answers>,
        asker: Arc<Asker>,
    ) -> Self {
        Self {
            inner,
            graph,
            own_id,
            answers,
            asker,
            waiting: Mutex::default(),
            outgoing: Mutex::default(),
        }
    }

    fn knows(&self, scid: u64) -> bool {
        self.graph.read_only().channel(scid).is_some()
    }

    fn gossip_received(&self, peer: Option<PublicKey>, announced: Option<u64>) {
        if let Some(peer) = peer {
            self.asker.gossip_received(&peer, announced);
        }
    }

    fn send_own_update(&self, peer: PublicKey, announcement: &ChannelAnnouncement) {
        if let Some(msg) = update_for(&self.graph, &self.own_id, &peer, announcement) {
            let node_id = peer;
            lock(&self.outgoing).push(MessageSendEvent::SendChannelUpdate { node_id, msg });
        }
    }

    /// Passes on the early updates of a channel that is now in the graph.
    fn release(&self, scid: u64) {
        let waiting = lock(&self.waiting).take(scid);
        for update in waiting {
            if let Ok(true) = self.inner.handle_channel_update(None, &update) {
                let event = MessageSendEvent::BroadcastChannelUpdate { msg: update };
                lock(&self.outgoing).push(event);
            }
        }
    }
}

/// Returns the error that sends the peer a warning. One warning per query does not amplify traffic.
fn refused(reason: AskedTooEarly) -> LightningError {
    let data = reason.to_string();
    let channel_id = ChannelId::new_zero();
    LightningError {
        err: data.clone(),
        action: ErrorAction::SendWarningMessage {
            msg: WarningMessage { channel_id, data },
            log_level: Level::Gossip,
        },
    }
}

/// Returns whether a peer's announcement was accepted, is known or is being checked. A rejected one may
/// still arrive intact from another peer.
fn is_taken(result: &Result<bool, LightningError>) -> bool {
    let action = result.as_ref().map_err(|error| &error.action);
    matches!(
        action,
        Ok(_) | Err(ErrorAction::IgnoreDuplicateGossip | ErrorAction::IgnoreAndLog(Level::Gossip))
    )
}

impl<G: RoutingMessageHandler> RoutingMessageHandler for GossipHandler<G> {
    fn handle_channel_announcement(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &ChannelAnnouncement,
    ) -> Result<bool, LightningError> {
        if let Some(peer) = their_node_id {
            self.send_own_update(peer, msg);
        }
        let result = self.inner.handle_channel_announcement(their_node_id, msg);
        let scid = msg.contents.short_channel_id;
        self.gossip_received(their_node_id, is_taken(&result).then_some(scid));
        if result.is_ok() {
            self.release(scid);
        }
        result
    }

    fn handle_channel_update(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &ChannelUpdate,
    ) -> Result<bool, LightningError> {
        self.gossip_received(their_node_id, None);
        let result = self.inner.handle_channel_update(their_node_id, msg);
        let scid = msg.contents.short_channel_id;
        let is_small = msg.contents.excess_data.len() <= MAX_EXCESS_BYTES;
        if result.is_err() && is_small && !self.knows(scid) {
            lock(&self.waiting).keep(their_node_id, msg);
            // The channel may have been added since the check above.
            if self.knows(scid) {
                self.release(scid);
            }
        }
        result
    }

    fn handle_node_announcement(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &NodeAnnouncement,
    ) -> Result<bool, LightningError> {
        self.gossip_received(their_node_id, None);
        self.inner.handle_node_announcement(their_node_id, msg)
    }

    fn get_next_channel_announcement(
        &self,
        starting_point: u64,
    ) -> Option<(
        ChannelAnnouncement,
        Option<ChannelUpdate>,
        Option<ChannelUpdate>,
    )> {
        self.inner.get_next_channel_announcement(starting_point)
    }

    fn get_next_node_announcement(
        &self,
        starting_point: Option<&NodeId>,
    ) -> Option<NodeAnnouncement> {
        self.inner.get_next_node_announcement(starting_point)
    }

    fn handle_reply_channel_range(
        &self,
        their_node_id: PublicKey,
        msg: ReplyChannelRange,
    ) -> Result<(), LightningError> {
        self.asker.range_reply(their_node_id, &msg);
        Ok(())
    }

    fn handle_reply_short_channel_ids_end(
        &self,
        their_node_id: PublicKey,
        _: ReplyShortChannelIdsEnd,
    ) -> Result<(), LightningError> {
        self.asker.ids_end(their_node_id);
        Ok(())
    }

    fn handle_query_channel_range(
        &self,
        their_node_id: PublicKey,
        msg: QueryChannelRange,
    ) -> Result<(), LightningError> {
        let asked = self.answers.ask_range(their_node_id, msg);
        asked.map_err(refused)
    }

    fn handle_query_short_channel_ids(
        &self,
        their_node_id: PublicKey,
        msg: QueryShortChannelIds,
    ) -> Result<(), LightningError> {
        let asked = self.answers.ask_ids(their_node_id, msg);
        asked.map_err(refused)
    }

    fn processing_queue_high(&self) -> bool {
        self.inner.processing_queue_high()
    }
}

impl<G: RoutingMessageHandler> BaseMessageHandler for GossipHandler<G> {
    /// An announcement among the events has passed its check; its early updates follow it.
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        let mut events = self.inner.get_and_clear_pending_msg_events();
        for event in &events {
            if let MessageSendEvent::BroadcastChannelAnnouncement { msg, .. } = event {
                self.release(msg.contents.short_channel_id);
            }
        }
        events.append(&mut lock(&self.outgoing));
        events
    }

    fn peer_disconnected(&self, their_node_id: PublicKey) {
        self.answers.forget(&their_node_id);
        self.asker.disconnected(&their_node_id);
        self.inner.peer_disconnected(their_node_id);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.inner.provided_node_features()
    }

    fn provided_init_features(&self, their_node_id: PublicKey) -> InitFeatures {
        self.inner.provided_init_features(their_node_id)
    }

    fn peer_connected(
        &self,
        their_node_id: PublicKey,
        msg: &Init,
        inbound: bool,
    ) -> Result<(), ()> {
        self.inner.peer_connected(their_node_id, msg, inbound)?;
        if msg.features.supports_gossip_queries() {
            self.asker.connected(their_node_id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
