//! Broadcasts HTLC events to subscribers, as far as LDK reports them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use lightning::ln::LocalHTLCFailureReason;
use lightning::ln::channelmanager::PaymentId;
use lightning_types::payment::PaymentPreimage;
use tokio::sync::broadcast;

use crate::clock::unix_nanos;
use crate::sync::lock;

/// The number of events that may be queued for a slow subscriber.
const EVENT_QUEUE_LEN: usize = 4_096;

/// The number of preimages kept until LDK reports their path, which it does as soon as the peer has
/// revoked the state with the HTLC.
const MAX_PREIMAGES: usize = 1_024;

/// The role of this node for an HTLC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HtlcKind {
    /// A payment from this node.
    Send,
    /// A payment to this node.
    Receive,
    /// A payment forwarded by this node.
    Forward,
}

/// What happened to an HTLC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HtlcStep {
    /// The HTLC was sent.
    Sent {
        amount_msat: u64,
        /// The block height at which the HTLC times out.
        expiry_height: u32,
    },
    /// The HTLC was settled. The preimage is set for our own payments only.
    Settled(Option<PaymentPreimage>),
    /// A node downstream failed the HTLC.
    FailedBehind,
    /// This node failed the HTLC.
    FailedHere(LocalHTLCFailureReason),
}

/// An event of one HTLC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HtlcEvent {
    /// The time in nanoseconds since 1970.
    pub at_ns: u64,
    pub kind: HtlcKind,
    /// The SCID of the incoming channel; `None` for our own payments.
    pub incoming_scid: Option<u64>,
    /// The SCID of the outgoing channel; `None` for payments to us.
    pub outgoing_scid: Option<u64>,
    pub step: HtlcStep,
}

/// The source of HTLC events. Clones share their subscribers.
#[derive(Debug, Clone)]
pub struct HtlcFeed {
    events: broadcast::Sender<HtlcEvent>,
    preimages: Arc<Mutex<VecDeque<(PaymentId, PaymentPreimage)>>>,
}

impl Default for HtlcFeed {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(EVENT_QUEUE_LEN),
            preimages: Arc::default(),
        }
    }
}

impl HtlcFeed {
    /// Subscribes to all events from now on.
    pub fn listen(&self) -> broadcast::Receiver<HtlcEvent> {
        self.events.subscribe()
    }

    /// Reports that an HTLC of our own payment was sent over this channel.
    pub fn sent(&self, outgoing_scid: Option<u64>, amount_msat: u64, expiry_height: u32) {
        let step = HtlcStep::Sent {
            amount_msat,
            expiry_height,
        };
        self.of_ours(outgoing_scid, step);
    }

    /// Stores the preimage of our own settled payment; LDK reports its path with
    /// [`HtlcFeed::send_settled`].
    pub fn preimage(&self, id: PaymentId, preimage: PaymentPreimage) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let mut preimages = self.lock();
        if preimages.len() >= MAX_PREIMAGES {
            preimages.pop_front();
        }
        preimages.push_back((id, preimage));
    }

    /// Reports that an HTLC of our own payment over this channel was settled.
    pub fn send_settled(&self, id: &PaymentId, outgoing_scid: Option<u64>) {
        let mut preimages = self.lock();
        let place = preimages.iter().position(|(known, _)| known == id);
        let preimage = place.and_then(|place| preimages.remove(place));
        drop(preimages);
        let preimage = preimage.map(|(_, preimage)| preimage);
        self.of_ours(outgoing_scid, HtlcStep::Settled(preimage));
    }

    /// Reports that an HTLC of our own payment failed downstream.
    pub fn send_failed(&self, outgoing_scid: Option<u64>) {
        self.of_ours(outgoing_scid, HtlcStep::FailedBehind);
    }

    fn of_ours(&self, outgoing_scid: Option<u64>, step: HtlcStep) {
        self.tell(HtlcKind::Send, None, outgoing_scid, step);
    }

    /// Sends the event to all subscribers, if there are any.
    pub(super) fn tell(
        &self,
        kind: HtlcKind,
        incoming_scid: Option<u64>,
        outgoing_scid: Option<u64>,
        step: HtlcStep,
    ) {
        let _ = self.events.send(HtlcEvent {
            at_ns: unix_nanos(),
            kind,
            incoming_scid,
            outgoing_scid,
            step,
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(PaymentId, PaymentPreimage)>> {
        lock(&self.preimages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_htlcs_carry_their_preimage() {
        let feed = HtlcFeed::default();
        let mut events = feed.listen();
        let (one, other) = (PaymentId([1; 32]), PaymentId([2; 32]));
        feed.preimage(one, PaymentPreimage([7; 32]));
        feed.preimage(other, PaymentPreimage([8; 32]));
        feed.send_settled(&other, Some(5));
        feed.send_settled(&one, Some(6));
        feed.send_settled(&one, Some(6));
        let mut step = || events.try_recv().unwrap().step;
        assert_eq!(step(), HtlcStep::Settled(Some(PaymentPreimage([8; 32]))));
        assert_eq!(step(), HtlcStep::Settled(Some(PaymentPreimage([7; 32]))));
        assert_eq!(step(), HtlcStep::Settled(None));
    }

    #[test]
    fn preimages_are_not_kept_without_subscribers() {
        let feed = HtlcFeed::default();
        feed.preimage(PaymentId([1; 32]), PaymentPreimage([7; 32]));
        assert!(feed.lock().is_empty());
        let _listening = feed.listen();
        for _ in 0..2 * MAX_PREIMAGES {
            feed.preimage(PaymentId([1; 32]), PaymentPreimage([7; 32]));
        }
        assert_eq!(feed.lock().len(), MAX_PREIMAGES);
    }
}
