//! LDK's handler of onion messages, with a rate limit per peer.
//!
//! LDK unwraps everything that peers send, and one connection can keep a core busy with it. BOLT 4
//! allows dropping messages above a rate.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    BaseMessageHandler, Init, MessageSendEvent, OnionMessage, OnionMessageHandler,
};
use lightning::types::features::{InitFeatures, NodeFeatures};

use crate::rates::{Rate, Rates};

/// The rate limit per peer. A BOLT 12 payment needs one or two messages in each direction.
const RATE: Rate = Rate {
    burst: 100,
    interval: Duration::from_millis(50),
};
/// The maximum number of tracked peers. A bucket is full again after at most five seconds.
const MAX_TRACKED_PEERS: usize = 10_000;

/// Passes on messages within the rate limit.
pub struct BoundedOnionMessages<H> {
    inner: Arc<H>,
    rates: Rates<PublicKey>,
}

impl<H: OnionMessageHandler> BoundedOnionMessages<H> {
    pub fn new(inner: Arc<H>) -> Self {
        Self {
            inner,
            rates: Rates::new(RATE, MAX_TRACKED_PEERS),
        }
    }
}

impl<H: OnionMessageHandler> OnionMessageHandler for BoundedOnionMessages<H> {
    fn handle_onion_message(&self, peer_node_id: PublicKey, msg: &OnionMessage) {
        if self.rates.take(peer_node_id) {
            self.inner.handle_onion_message(peer_node_id, msg);
        } else {
            tracing::trace!(peer = %peer_node_id, "dropped an onion message: rate limit reached");
        }
    }

    fn next_onion_message_for_peer(&self, peer_node_id: PublicKey) -> Option<OnionMessage> {
        self.inner.next_onion_message_for_peer(peer_node_id)
    }

    fn timer_tick_occurred(&self) {
        self.inner.timer_tick_occurred();
    }
}

impl<H: OnionMessageHandler> BaseMessageHandler for BoundedOnionMessages<H> {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        self.inner.get_and_clear_pending_msg_events()
    }

    fn peer_disconnected(&self, their_node_id: PublicKey) {
        self.inner.peer_disconnected(their_node_id);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.inner.provided_node_features()
    }

    fn provided_init_features(&self, their_node_id: PublicKey) -> InitFeatures {
        self.inner.provided_init_features(their_node_id)
    }

    fn peer_connected(
        &self,
        their_node_id: PublicKey,
        msg: &Init,
        inbound: bool,
    ) -> Result<(), ()> {
        self.inner.peer_connected(their_node_id, msg, inbound)
    }
}
