//! LDK's gossip handler with bounds on what peers can make us do.
//!
//! * Announced channels are looked up on the account of the peer that sent them ([`ChannelCheck`]).
//! * The updates of one direction of a channel, and the announcements of one node, are taken and passed on
//!   ten times at once, then once a minute, as in lnd. LDK takes any number of them, and each goes to all
//!   peers.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    BaseMessageHandler, ChannelAnnouncement, ChannelUpdate, ErrorAction, Init, LightningError,
    MessageSendEvent, NodeAnnouncement, QueryChannelRange, QueryShortChannelIds, ReplyChannelRange,
    ReplyShortChannelIdsEnd, RoutingMessageHandler,
};
use lightning::routing::gossip::NodeId;
use lightning::types::features::{InitFeatures, NodeFeatures};

use super::announcers::Worth;
use super::channel_check::ChannelCheck;
use crate::ldk::{GossipSync, NetworkGraph};
use crate::rates::{Rate, Rates};

/// lnd's values for channel updates (`gossip.max-channel-update-burst`, `gossip.channel-update-interval`).
const NEWS: Rate = Rate {
    burst: 10,
    interval: Duration::from_secs(60),
};
/// Channels and nodes that are held to it at a time: some megabytes. When a graph is downloaded each of
/// them has news once.
const MOST_NEWS: usize = 50_000;
/// Bytes beyond the fields of BOLT 7 with which LDK passes messages on.
const MOST_EXCESS: usize = 1_024;

/// LDK's gossip handler, with bounds.
pub struct CheckedGossip {
    inner: Arc<GossipSync>,
    graph: Arc<NetworkGraph>,
    /// None as long as channels are not checked.
    check: OnceLock<Arc<ChannelCheck>>,
    updates: Rates<(u64, u8)>,
    nodes: Rates<NodeId>,
}

impl CheckedGossip {
    /// Wraps the handler that fills `graph`.
    pub fn new(inner: Arc<GossipSync>, graph: Arc<NetworkGraph>) -> Self {
        Self {
            inner,
            graph,
            check: OnceLock::new(),
            updates: Rates::new(NEWS, MOST_NEWS),
            nodes: Rates::new(NEWS, MOST_NEWS),
        }
    }

    /// From now on announced channels are checked.
    pub fn check_with(&self, check: ChannelCheck) {
        // It is called once.
        let _ = self.check.set(Arc::new(check));
    }
}

/// What LDK does with a message that is refused for now.
fn ignored(why: &str) -> LightningError {
    LightningError {
        err: why.to_owned(),
        action: ErrorAction::IgnoreError,
    }
}

/// A peer's announcement, before LDK verifies its signatures.
fn is_worth_reading(
    check: &ChannelCheck,
    peer: &PublicKey,
    scid: u64,
) -> Result<(), LightningError> {
    if check.is_banned(peer) {
        return Err(ignored("the peer has sent too many wrong announcements"));
    }
    if check.is_in_the_future(scid) {
        return Err(ignored("the channel's block is far in the future"));
    }
    match check.is_refused(scid) {
        Some(worth) => {
            let error = ignored("the channel was refused before");
            if check.has_asked(peer, scid) {
                return Err(error);
            }
            Err(blamed(check, peer, worth, error))
        }
        None => Ok(()),
    }
}

/// The answer to an announcement of this worth.
fn blamed(
    check: &ChannelCheck,
    peer: &PublicKey,
    worth: Worth,
    error: LightningError,
) -> LightningError {
    if !check.found(peer, worth) {
        return error;
    }
    LightningError {
        action: ErrorAction::DisconnectPeer { msg: None },
        ..error
    }
}

impl RoutingMessageHandler for CheckedGossip {
    fn handle_channel_announcement(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &ChannelAnnouncement,
    ) -> Result<bool, LightningError> {
        let Some(check) = self.check.get() else {
            return self.inner.handle_channel_announcement(their_node_id, msg);
        };
        if let Some(peer) = &their_node_id {
            is_worth_reading(check, peer, msg.contents.short_channel_id)?;
        }
        let lookup = check.lookup(their_node_id, &msg.contents);
        let taken = self
            .graph
            .update_channel_from_announcement(msg, &Some(&lookup));
        match (taken, &their_node_id) {
            (Ok(()), _) => Ok(msg.contents.excess_data.len() <= MOST_EXCESS),
            // LDK sends a warning if, and only if, a key or a signature is wrong.
            (Err(error), Some(peer))
                if matches!(error.action, ErrorAction::SendWarningMessage { .. }) =>
            {
                Err(blamed(check, peer, Worth::Wrong, error))
            }
            (Err(error), _) => Err(error),
        }
    }

    fn handle_channel_update(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &ChannelUpdate,
    ) -> Result<bool, LightningError> {
        let direction = (
            msg.contents.short_channel_id,
            msg.contents.channel_flags & 1,
        );
        if their_node_id.is_some() && !self.updates.has_one(&direction) {
            return Err(ignored("the channel has too many updates"));
        }
        let passed_on = self.inner.handle_channel_update(their_node_id, msg)?;
        // Only now: nobody else can use up what a channel may send.
        self.updates.take(direction);
        Ok(passed_on)
    }

    fn handle_node_announcement(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &NodeAnnouncement,
    ) -> Result<bool, LightningError> {
        let node = msg.contents.node_id;
        if their_node_id.is_some() && !self.nodes.has_one(&node) {
            return Err(ignored("the node has too many announcements"));
        }
        let passed_on = self.inner.handle_node_announcement(their_node_id, msg)?;
        self.nodes.take(node);
        Ok(passed_on)
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
        self.inner.handle_reply_channel_range(their_node_id, msg)
    }

    fn handle_reply_short_channel_ids_end(
        &self,
        their_node_id: PublicKey,
        msg: ReplyShortChannelIdsEnd,
    ) -> Result<(), LightningError> {
        self.inner
            .handle_reply_short_channel_ids_end(their_node_id, msg)
    }

    fn handle_query_channel_range(
        &self,
        their_node_id: PublicKey,
        msg: QueryChannelRange,
    ) -> Result<(), LightningError> {
        self.inner.handle_query_channel_range(their_node_id, msg)
    }

    fn handle_query_short_channel_ids(
        &self,
        their_node_id: PublicKey,
        msg: QueryShortChannelIds,
    ) -> Result<(), LightningError> {
        self.inner
            .handle_query_short_channel_ids(their_node_id, msg)
    }

    fn processing_queue_high(&self) -> bool {
        self.inner.processing_queue_high()
    }
}

impl BaseMessageHandler for CheckedGossip {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        self.inner.get_and_clear_pending_msg_events()
    }

    fn peer_disconnected(&self, their_node_id: PublicKey) {
        self.inner.peer_disconnected(their_node_id);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.inner.provided_node_features()
    }

    fn provided_init_features(&self, their_node_id: PublicKey) -> InitFeatures {
        self.inner.provided_init_features(their_node_id)
    }

    /// Refuses a peer that is banned, unless we have a channel with it.
    fn peer_connected(
        &self,
        their_node_id: PublicKey,
        msg: &Init,
        inbound: bool,
    ) -> Result<(), ()> {
        let is_refused = |check: &Arc<ChannelCheck>| {
            check.is_banned(&their_node_id) && !check.has_channel(&their_node_id)
        };
        if self.check.get().is_some_and(is_refused) {
            return Err(());
        }
        self.inner.peer_connected(their_node_id, msg, inbound)
    }
}

#[cfg(test)]
mod tests;
