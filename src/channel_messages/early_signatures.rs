//! `announcement_signatures` received before LDK can handle them.
//!
//! Core Lightning sends them just before its `channel_ready`. LDK drops them at that point, and the
//! channel stays unannounced until the peer reconnects. BOLT 7 says to defer them. LDK also
//! force-closes a channel if the signed short channel id differs from its own, which happens briefly
//! during a reorg.

use std::collections::HashMap;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::msgs::AnnouncementSignatures;
use lightning::ln::types::ChannelId;

/// The latest deferred message of each channel. Only existing channels have an entry. A peer's
/// entries are dropped when it disconnects; it retransmits them after reconnecting (BOLT 7).
#[derive(Default)]
pub(super) struct EarlySignatures {
    waiting: HashMap<(PublicKey, ChannelId), AnnouncementSignatures>,
}

impl EarlySignatures {
    /// Defers a message, replacing an earlier one for the same channel.
    pub(super) fn hold(&mut self, peer: PublicKey, message: &AnnouncementSignatures) {
        let key = (peer, message.channel_id);
        self.waiting.insert(key, message.clone());
    }

    /// Removes and returns the channel's deferred message if LDK can handle it now.
    pub(super) fn take(
        &mut self,
        peer: PublicKey,
        channel: &ChannelDetails,
    ) -> Option<AnnouncementSignatures> {
        let key = (peer, channel.channel_id);
        let waiting = self.waiting.get(&key)?;
        let scid = Some(waiting.short_channel_id);
        let is_due = channel.is_channel_ready && channel.short_channel_id == scid;
        is_due.then(|| self.waiting.remove(&key)).flatten()
    }

    /// Drops the messages of a closed channel.
    pub(super) fn forget_channel(&mut self, channel_id: &ChannelId) {
        self.waiting.retain(|(_, id), _| id != channel_id);
    }

    /// Drops the messages of a disconnected peer.
    pub(super) fn forget_peer(&mut self, peer: &PublicKey) {
        self.waiting.retain(|(id, _), _| id != peer);
    }
}
