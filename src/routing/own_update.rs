//! Sends our channel_update again to a peer that has just announced our common channel.
//!
//! LDK sends the update as soon as it sees that the channel can be announced. A peer that sees the sixth
//! confirmation slightly later treats it as the update of an unannounced channel: Core Lightning then does
//! not relay it, and it is not sent again until the next connection. The rest of the network would know
//! only one direction of the channel. Once the peer's channel_announcement arrives, it is ready for our
//! update.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{ChannelAnnouncement, ChannelUpdate};
use lightning::routing::gossip::NodeId;

use crate::ldk::NetworkGraph;

/// Returns our latest update if `peer` announces a channel between itself and us (`own`).
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
    // The announcement is not verified yet, so rely on the graph's data about this channel.
    let peer = NodeId::from_pubkey(peer);
    let direction = match (channel.node_one, channel.node_two) {
        (one, two) if one == *own && two == peer => &channel.one_to_two,
        (one, two) if one == peer && two == *own => &channel.two_to_one,
        _ => return None,
    };
    direction.as_ref()?.last_update_message.clone()
}
