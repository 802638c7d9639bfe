//! LDK's gossip handler with what it lacks: patience for early updates, and gossip queries.
//!
//! Channel updates that come before the channel is in the graph are kept. A channel's announcement is
//! checked against the chain, which takes a moment. LDK holds the updates that come meanwhile, but for two
//! gaps: an update that a peer accepted just before it passed the announcement on arrives here first, and
//! one that arrives between the end of the check and the channel's entry is dropped. Nobody sends a dropped
//! update again until the connection is new, and LDK routes over a channel only when it knows both of its
//! directions: it would be useless for payments until then. lnd keeps such updates, too. Core Lightning does
//! not: it gets ours again when it has announced our channel (`own_update`).
//!
//! Queries of peers go to [`Answers`], and what peers answer to ours to [`Asker`]: LDK ignores both, but for
//! query_channel_range.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Bytes beyond the fields of BOLT 7 that an update may have to be kept. LDK passes on no more either;
/// a message has room for 65 kB of them.
const MOST_EXCESS: usize = 1_024;

/// LDK's gossip handler, with patience for updates of channels that are not known yet, and with both sides
/// of gossip queries.
pub struct PatientGossip<G> {
    inner: Arc<G>,
    graph: Arc<NetworkGraph>,
    own_id: NodeId,
    answers: Arc<Answers>,
    asker: Arc<Asker>,
    waiting: Mutex<WaitingUpdates>,
    /// Updates that go to peers: those accepted after their wait, and our own.
    outgoing: Mutex<Vec<MessageSendEvent>>,
}

impl<G: RoutingMessageHandler> PatientGossip<G> {
    /// Wraps the handler that fills `graph` of the node `own_id`.
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

    fn heard(&self, peer: Option<PublicKey>, announced: Option<u64>) {
        if let Some(peer) = peer {
            self.asker.heard(&peer, announced);
        }
    }

    fn answer_with_own_update(&self, peer: PublicKey, announcement: &ChannelAnnouncement) {
        if let Some(msg) = update_for(&self.graph, &self.own_id, &peer, announcement) {
            let node_id = peer;
            lock(&self.outgoing).push(MessageSendEvent::SendChannelUpdate { node_id, msg });
        }
    }

    /// The channel is in the graph: its updates can be judged now.
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

/// The peer is told; a warning for each such query is as much as it sends.
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

/// Whether a peer's announcement was taken, is known, or is being checked. What was refused may come from
/// another peer in a better state.
fn is_taken(result: &Result<bool, LightningError>) -> bool {
    let action = result.as_ref().map_err(|error| &error.action);
    matches!(
        action,
        Ok(_) | Err(ErrorAction::IgnoreDuplicateGossip | ErrorAction::IgnoreAndLog(Level::Gossip))
    )
}

/// Nothing can panic halfway through a change of these lists.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<G: RoutingMessageHandler> RoutingMessageHandler for PatientGossip<G> {
    fn handle_channel_announcement(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &ChannelAnnouncement,
    ) -> Result<bool, LightningError> {
        if let Some(peer) = their_node_id {
            self.answer_with_own_update(peer, msg);
        }
        let result = self.inner.handle_channel_announcement(their_node_id, msg);
        let scid = msg.contents.short_channel_id;
        self.heard(their_node_id, is_taken(&result).then_some(scid));
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
        self.heard(their_node_id, None);
        let result = self.inner.handle_channel_update(their_node_id, msg);
        let scid = msg.contents.short_channel_id;
        let is_small = msg.contents.excess_data.len() <= MOST_EXCESS;
        if result.is_err() && is_small && !self.knows(scid) {
            lock(&self.waiting).keep(their_node_id, msg);
            // It may have come into the graph between the two lines above.
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
        self.heard(their_node_id, None);
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

impl<G: RoutingMessageHandler> BaseMessageHandler for PatientGossip<G> {
    /// An announcement among them has passed its check. Its waiting updates follow it.
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
