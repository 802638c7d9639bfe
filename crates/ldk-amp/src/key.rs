//! The identity of an incoming HTLC.

use lightning::ln::types::ChannelId;

/// Identifies an incoming HTLC: unique for the node's lifetime, across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HtlcKey {
    /// The channel that carries the HTLC.
    pub channel_id: ChannelId,
    /// The HTLC's id on this channel (BOLT 2).
    pub htlc_id: u64,
}
