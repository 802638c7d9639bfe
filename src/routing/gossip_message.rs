//! An encoded gossip message for one peer.
//!
//! LDK has no event that sends a node_announcement or reply_short_channel_ids_end to one peer. So all
//! messages of gossip queries (BOLT 7) are sent as raw bytes through one queue, which preserves their order.

use lightning::ln::wire::Type;

/// An encoded BOLT 7 message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipMessage {
    /// The message type (BOLT 1).
    pub kind: u16,
    /// The message without its type.
    pub bytes: Vec<u8>,
}

impl GossipMessage {
    /// Encodes an LDK message.
    pub fn new(message: &impl Type) -> Self {
        Self {
            kind: message.type_id(),
            bytes: message.encode(),
        }
    }
}
