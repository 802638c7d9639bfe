//! Broadcasts channel events to subscribers.

use bitcoin::OutPoint;
use tokio::sync::broadcast;

use super::closed::ClosedChannel;
use super::list::Channel;

/// The number of events that may be queued for a slow subscriber.
const EVENT_QUEUE_LEN: usize = 1_024;

/// A change in the state of a channel.
#[derive(Debug, Clone)]
pub enum ChannelEvent {
    /// The funding transaction was broadcast.
    Pending(OutPoint),
    /// The channel is ready for payments. Boxed, since it is far larger than the other variants.
    Open(Box<Channel>),
    /// The channel is closed; its closing transaction may still be unconfirmed.
    Closed(Box<ClosedChannel>),
    /// The funding transaction did not confirm in time: the channel never opened.
    FundingTimeout(OutPoint),
}

/// The source of channel events. Clones share their subscribers.
#[derive(Debug, Clone)]
pub struct ChannelFeed(broadcast::Sender<ChannelEvent>);

impl Default for ChannelFeed {
    fn default() -> Self {
        Self(broadcast::Sender::new(EVENT_QUEUE_LEN))
    }
}

impl ChannelFeed {
    /// Sends the event to all subscribers, if there are any.
    pub(super) fn tell(&self, event: ChannelEvent) {
        let _ = self.0.send(event);
    }

    /// Subscribes to all events from now on.
    pub fn listen(&self) -> broadcast::Receiver<ChannelEvent> {
        self.0.subscribe()
    }
}
