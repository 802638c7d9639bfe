//! Our own channel_update for a peer that has just announced our channel.
//!
//! LDK sends it as soon as it knows that the channel can be announced. A peer that learns of the sixth
//! confirmation a moment later takes it for the update of an unannounced channel: Core Lightning does not
//! pass it on, and nobody sends it again until the next connection. Everybody else then knows one direction
//! of the channel only. When the peer's channel_announcement arrives, it is ready for our update.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{ChannelAnnouncement, ChannelUpdate};
use lightning::routing::gossip::NodeId;

use crate::ldk::NetworkGraph;

/// Our latest update, if `peer` announces a channel that it has with us (`own`).
pub(super) fn update_for(
    graph: &NetworkGraph,
    own: &NodeId,
    peer: &PublicKey,
    announcement: &ChannelAnnouncement,
) -> Option<ChannelUpdate> {
    let contents = &announcement.contents;
    let ends = [contents.node_id_1, contents.node_id_2];
    if !ends.contains(own) || !ends.contains(&NodeId::from_pubkey(peer)) {
        return None;
    }
    let graph = graph.read_only();
    let channel = graph.channel(contents.short_channel_id)?;
    // The announcement is not verified yet; what the graph knows of this channel is.
    let peer = NodeId::from_pubkey(peer);
    let direction = match (channel.node_one, channel.node_two) {
        (one, two) if one == *own && two == peer => &channel.one_to_two,
        (one, two) if one == peer && two == *own => &channel.two_to_one,
        _ => return None,
    };
    direction.as_ref()?.last_update_message.clone()
}
