//! Tells whoever listens what becomes of our channels.

use bitcoin::OutPoint;
use tokio::sync::broadcast;

use super::closed::ClosedChannel;
use super::list::Channel;

/// Events that may wait for a slow listener.
const BACKLOG: usize = 1_024;

/// What happened to a channel.
#[derive(Debug, Clone)]
pub enum ChannelEvent {
    /// Its funding transaction is broadcast.
    Pending(OutPoint),
    /// It can be used from now on. Boxed, since it is far larger than the others.
    Open(Box<Channel>),
    /// It is no more; its closing transaction need not be in a block yet.
    Closed(Box<ClosedChannel>),
    /// Its funding transaction did not confirm in time: it never was open.
    FundingTimeout(OutPoint),
}

/// Where the events come from. Clones are the same feed.
#[derive(Debug, Clone)]
pub struct ChannelFeed(broadcast::Sender<ChannelEvent>);

impl Default for ChannelFeed {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl ChannelFeed {
    /// Tells those who listen; if nobody does, it is forgotten.
    pub(super) fn tell(&self, event: ChannelEvent) {
        let _ = self.0.send(event);
    }

    /// All that happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<ChannelEvent> {
        self.0.subscribe()
    }
}
