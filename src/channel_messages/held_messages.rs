//! Messages that wait until what LDK did before them is on disk, although no monitor update delays them.
//!
//! `funding_signed`: LDK can lose nothing of ours with a channel whose funding transaction it has not
//! accepted yet. But the peer broadcasts that transaction when it gets the message. If we crashed before the
//! commit, we would not know the channel, and the peer would have to close it.
//!
//! `closing_signed`: the peer may broadcast the closing transaction, in which no HTLC is left. The last
//! `revoke_and_ack` that removed one need not be on disk when LDK has processed it (see
//! [`SecretOnlyUpdates`](crate::storage::monitors::SecretOnlyUpdates)), but now it must be.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::MessageSendEvent;
use lightning::ln::types::ChannelId;

/// Tells whether a commit is on disk.
pub type OnDisk = Box<dyn Fn() -> bool + Send>;

/// The database as seen by channel messages.
pub trait Commits: Send + Sync {
    /// Requests a commit of everything that LDK has done so far. Messages must be collected again when it is
    /// on disk.
    fn request(&self) -> OnDisk;
}

/// The messages that wait for their commit. Without [`Commits`], none does.
#[derive(Default)]
pub(super) struct HeldMessages {
    commits: Option<Arc<dyn Commits>>,
    waiting: Vec<(OnDisk, MessageSendEvent)>,
}

impl HeldMessages {
    pub(super) fn waiting_for(commits: Arc<dyn Commits>) -> Self {
        Self {
            commits: Some(commits),
            waiting: Vec::new(),
        }
    }

    /// Takes the messages that have to wait out of LDK's messages.
    pub(super) fn hold_back(&mut self, events: &mut Vec<MessageSendEvent>) {
        let Some(commits) = &self.commits else {
            return;
        };
        let is_held = |event: &mut MessageSendEvent| {
            matches!(
                event,
                MessageSendEvent::SendFundingSigned { .. }
                    | MessageSendEvent::SendClosingSigned { .. }
            )
        };
        for event in events.extract_if(.., is_held) {
            self.waiting.push((commits.request(), event));
        }
    }

    /// Removes and returns the messages whose commit is on disk.
    pub(super) fn due(&mut self) -> Vec<MessageSendEvent> {
        let due = self.waiting.extract_if(.., |(is_on_disk, _)| is_on_disk());
        due.map(|(_, event)| event).collect()
    }

    /// Drops the `funding_signed` of a closed channel. The last `closing_signed` follows the end of its
    /// channel.
    pub(super) fn forget_channel(&mut self, channel: &ChannelId) {
        self.waiting.retain(|(_, event)| match event {
            MessageSendEvent::SendFundingSigned { msg, .. } => msg.channel_id != *channel,
            _ => true,
        });
    }

    /// Drops the messages to a disconnected peer.
    pub(super) fn forget_peer(&mut self, peer: &PublicKey) {
        self.waiting.retain(|(_, event)| match event {
            MessageSendEvent::SendFundingSigned { node_id, .. }
            | MessageSendEvent::SendClosingSigned { node_id, .. } => node_id != peer,
            _ => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use bitcoin::secp256k1::ecdsa::Signature;
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use lightning::ln::msgs;

    use super::*;

    /// Commits that are on disk when told so.
    #[derive(Default)]
    struct Disk(Arc<AtomicBool>);

    impl Commits for Disk {
        fn request(&self) -> OnDisk {
            let written = self.0.clone();
            Box::new(move || written.load(Ordering::Relaxed))
        }
    }

    fn peer(seed: u8) -> PublicKey {
        PublicKey::from_secret_key(
            &Secp256k1::new(),
            &SecretKey::from_slice(&[seed; 32]).unwrap(),
        )
    }

    fn signed(seed: u8) -> MessageSendEvent {
        let msg = msgs::FundingSigned {
            channel_id: ChannelId([seed; 32]),
            signature: Signature::from_compact(&[1; 64]).unwrap(),
        };
        let node_id = peer(seed);
        MessageSendEvent::SendFundingSigned { node_id, msg }
    }

    fn closing(seed: u8) -> MessageSendEvent {
        let msg = msgs::ClosingSigned {
            channel_id: ChannelId([seed; 32]),
            fee_satoshis: 200,
            signature: Signature::from_compact(&[1; 64]).unwrap(),
            fee_range: None,
        };
        let node_id = peer(seed);
        MessageSendEvent::SendClosingSigned { node_id, msg }
    }

    fn recipients(events: &[MessageSendEvent]) -> Vec<PublicKey> {
        let to = events.iter().filter_map(|event| match event {
            MessageSendEvent::SendFundingSigned { node_id, .. }
            | MessageSendEvent::SendClosingSigned { node_id, .. } => Some(*node_id),
            _ => None,
        });
        to.collect()
    }

    #[test]
    fn messages_wait_for_their_commit() {
        let disk = Disk::default();
        let written = disk.0.clone();
        let mut messages = HeldMessages::waiting_for(Arc::new(disk));
        let mut events = vec![signed(1), closing(2)];
        messages.hold_back(&mut events);
        assert!(events.is_empty() && messages.due().is_empty());
        written.store(true, Ordering::Relaxed);
        assert_eq!(recipients(&messages.due()), [peer(1), peer(2)]);
        assert!(messages.due().is_empty());
    }

    #[test]
    fn messages_for_closed_channels_and_disconnected_peers_are_dropped() {
        let disk = Disk::default();
        disk.0.store(true, Ordering::Relaxed);
        let mut messages = HeldMessages::waiting_for(Arc::new(disk));
        messages.hold_back(&mut vec![signed(1), closing(1), signed(2), signed(3)]);
        messages.forget_peer(&peer(1));
        messages.forget_channel(&ChannelId([2; 32]));
        assert_eq!(recipients(&messages.due()), [peer(3)]);
    }

    #[test]
    fn last_message_of_a_cooperative_close_outlives_its_channel() {
        let disk = Disk::default();
        disk.0.store(true, Ordering::Relaxed);
        let mut messages = HeldMessages::waiting_for(Arc::new(disk));
        messages.hold_back(&mut vec![closing(1)]);
        messages.forget_channel(&ChannelId([1; 32]));
        assert_eq!(recipients(&messages.due()), [peer(1)]);
    }
}
