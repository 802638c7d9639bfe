//! Reports when a peer has received everything that was queued for it.
//!
//! LDK does not expose how much is queued for a peer. But before it asks for the next onion
//! message, it makes sure that the queue is empty and that the peer has answered the ping that LDK
//! sends after every 32 messages. At that point the next part of a long transfer can be sent.

use std::ops::Deref;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    BaseMessageHandler, Init, MessageSendEvent, OnionMessage, OnionMessageHandler,
};
use lightning::types::features::{InitFeatures, NodeFeatures};

/// Wraps LDK's onion message handler and reports that point.
pub struct TellsDrained<H> {
    inner: H,
    tell: Box<dyn Fn(&PublicKey) + Send + Sync>,
}

impl<H> TellsDrained<H> {
    /// `tell` is called while LDK holds its lock on the peer: it must return quickly and not call
    /// LDK.
    pub fn new(inner: H, tell: impl Fn(&PublicKey) + Send + Sync + 'static) -> Self {
        Self {
            inner,
            tell: Box::new(tell),
        }
    }
}

impl<H: Deref<Target: OnionMessageHandler>> OnionMessageHandler for TellsDrained<H> {
    fn handle_onion_message(&self, peer: PublicKey, message: &OnionMessage) {
        self.inner.handle_onion_message(peer, message);
    }

    fn next_onion_message_for_peer(&self, peer: PublicKey) -> Option<OnionMessage> {
        let next = self.inner.next_onion_message_for_peer(peer);
        if next.is_none() {
            (self.tell)(&peer);
        }
        next
    }

    fn timer_tick_occurred(&self) {
        self.inner.timer_tick_occurred();
    }
}

impl<H: Deref<Target: OnionMessageHandler>> BaseMessageHandler for TellsDrained<H> {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        self.inner.get_and_clear_pending_msg_events()
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.inner.peer_disconnected(peer);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.inner.provided_node_features()
    }

    fn provided_init_features(&self, peer: PublicKey) -> InitFeatures {
        self.inner.provided_init_features(peer)
    }

    fn peer_connected(&self, peer: PublicKey, init: &Init, inbound: bool) -> Result<(), ()> {
        self.inner.peer_connected(peer, init, inbound)
    }
}
