//! A gossip message to one peer, as it goes over the wire.
//!
//! LDK has no event that sends a node_announcement or a reply_short_channel_ids_end to one peer. All that
//! belongs to gossip queries (BOLT 7) is therefore sent as bytes of our own, in one queue, so that its order
//! is kept.

use lightning::ln::wire::Type;

/// A message of BOLT 7 for one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipMessage {
    /// The message's type (BOLT 1).
    pub kind: u16,
    /// What follows the type.
    pub bytes: Vec<u8>,
}

impl GossipMessage {
    /// Encodes one of LDK's messages.
    pub fn new(message: &impl Type) -> Self {
        Self {
            kind: message.type_id(),
            bytes: message.encode(),
        }
    }
}
