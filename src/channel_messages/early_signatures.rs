//! `announcement_signatures` that come before LDK takes them.
//!
//! Core Lightning sends them just before its `channel_ready`. LDK drops them then, and the channel
//! is not announced until the peer connects again. BOLT 7 asks to defer them. LDK also closes a channel
//! by force if they sign another short channel id than its own, which differs for a moment when a
//! block is replaced.

use std::collections::HashMap;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::msgs::AnnouncementSignatures;
use lightning::ln::types::ChannelId;

/// The last message of each channel that waits. Only existing channels are entered, and a peer's are
/// forgotten when it disconnects: it sends them again (BOLT 7).
#[derive(Default)]
pub(super) struct EarlySignatures {
    waiting: HashMap<(PublicKey, ChannelId), AnnouncementSignatures>,
}

impl EarlySignatures {
    pub(super) fn hold(&mut self, peer: PublicKey, message: &AnnouncementSignatures) {
        let key = (peer, message.channel_id);
        self.waiting.insert(key, message.clone());
    }

    /// Takes what waits for this channel, if LDK takes it now.
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

    pub(super) fn forget_channel(&mut self, channel_id: &ChannelId) {
        self.waiting.retain(|(_, id), _| id != channel_id);
    }

    pub(super) fn forget_peer(&mut self, peer: &PublicKey) {
        self.waiting.retain(|(id, _), _| id != peer);
    }
}
