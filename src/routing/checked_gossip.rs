//! Wraps LDK's gossip handler and limits the work that peers can cause.
//!
//! * Look-ups of announced channels are charged to the announcing peer ([`ChannelCheck`]).
//! * Updates of one channel direction, and announcements of one node, are accepted and relayed in bursts of
//!   ten, then once a minute, as in lnd. LDK accepts any number and relays each to all peers.

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

use super::announcers::Finding;
use super::channel_check::ChannelCheck;
use crate::ldk::{GossipSync, NetworkGraph};
use crate::rates::{Rate, Rates};

/// lnd's rate for channel updates (`gossip.max-channel-update-burst`, `gossip.channel-update-interval`).
const UPDATE_RATE: Rate = Rate {
    burst: 10,
    interval: Duration::from_secs(60),
};
/// The number of channel directions, and of nodes, whose rate is tracked at a time: a few megabytes. During
/// a graph download each of them needs one entry.
const MAX_RATED: usize = 50_000;
/// The maximum number of bytes beyond BOLT 7's fields with which LDK relays a message.
const MAX_EXCESS_BYTES: usize = 1_024;

/// LDK's gossip handler with limits.
pub struct CheckedGossip {
    inner: Arc<GossipSync>,
    graph: Arc<NetworkGraph>,
    /// Unset until [`CheckedGossip::check_with`]; until then channels are not checked.
    check: OnceLock<Arc<ChannelCheck>>,
    updates: Rates<(u64, u8)>,
    nodes: Rates<NodeId>,
}

impl CheckedGossip {
    /// Wraps `inner`, which fills `graph`.
    pub fn new(inner: Arc<GossipSync>, graph: Arc<NetworkGraph>) -> Self {
        Self {
            inner,
            graph,
            check: OnceLock::new(),
            updates: Rates::new(UPDATE_RATE, MAX_RATED),
            nodes: Rates::new(UPDATE_RATE, MAX_RATED),
        }
    }

    /// Starts checking announced channels.
    pub fn check_with(&self, check: ChannelCheck) {
        // Called only once.
        let _ = self.check.set(Arc::new(check));
    }
}

/// Returns the error that makes LDK ignore a message.
fn ignored(why: &str) -> LightningError {
    LightningError {
        err: why.to_owned(),
        action: ErrorAction::IgnoreError,
    }
}

/// Pre-checks a peer's announcement before LDK verifies its signatures.
fn precheck(check: &ChannelCheck, peer: &PublicKey, scid: u64) -> Result<(), LightningError> {
    if check.is_banned(peer) {
        return Err(ignored("the peer is banned for invalid announcements"));
    }
    if check.is_in_the_future(scid) {
        return Err(ignored("the channel's block is too far in the future"));
    }
    match check.is_refused(scid) {
        Some(finding) => {
            let error = ignored("the channel was rejected before");
            if check.has_asked(peer, scid) {
                return Err(error);
            }
            Err(blamed(check, peer, finding, error))
        }
        None => Ok(()),
    }
}

/// Blames the peer for an announcement: returns `error`, or a disconnect if the peer must be disconnected.
fn blamed(
    check: &ChannelCheck,
    peer: &PublicKey,
    finding: Finding,
    error: LightningError,
) -> LightningError {
    if !check.found(peer, finding) {
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
            precheck(check, peer, msg.contents.short_channel_id)?;
        }
        let lookup = check.lookup(their_node_id, &msg.contents);
        let taken = self
            .graph
            .update_channel_from_announcement(msg, &Some(&lookup));
        match (taken, &their_node_id) {
            (Ok(()), _) => Ok(msg.contents.excess_data.len() <= MAX_EXCESS_BYTES),
            // LDK sends a warning if and only if a key or signature is invalid.
            (Err(error), Some(peer))
                if matches!(error.action, ErrorAction::SendWarningMessage { .. }) =>
            {
                Err(blamed(check, peer, Finding::Invalid, error))
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
            return Err(ignored("too many updates of this channel"));
        }
        let is_relayed = self.inner.handle_channel_update(their_node_id, msg)?;
        // Charged only now, so that forged updates do not use up the channel's allowance.
        self.updates.take(direction);
        Ok(is_relayed)
    }

    fn handle_node_announcement(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &NodeAnnouncement,
    ) -> Result<bool, LightningError> {
        let node = msg.contents.node_id;
        if their_node_id.is_some() && !self.nodes.has_one(&node) {
            return Err(ignored("too many announcements of this node"));
        }
        let is_relayed = self.inner.handle_node_announcement(their_node_id, msg)?;
        self.nodes.take(node);
        Ok(is_relayed)
    }

    /// Skips channels without an update: BOLT 7 forbids to announce them, but LDK does.
    fn get_next_channel_announcement(
        &self,
        mut starting_point: u64,
    ) -> Option<(
        ChannelAnnouncement,
        Option<ChannelUpdate>,
        Option<ChannelUpdate>,
    )> {
        loop {
            let next = self.inner.get_next_channel_announcement(starting_point)?;
            let (announcement, update, reverse_update) = &next;
            if update.is_some() || reverse_update.is_some() {
                return Some(next);
            }
            starting_point = announcement.contents.short_channel_id.checked_add(1)?;
        }
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

    /// Rejects banned peers, unless we have a channel with them.
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
