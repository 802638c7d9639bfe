//! Tells whoever listens what becomes of HTLCs, as far as LDK tells us.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lightning::ln::LocalHTLCFailureReason;
use lightning::ln::channelmanager::PaymentId;
use lightning_types::payment::PaymentPreimage;
use tokio::sync::broadcast;

use super::rows::now_ns;

/// Events that may wait for a slow listener.
const BACKLOG: usize = 4_096;

/// Preimages that wait for LDK to tell which path they were for. It does so when the peer has revoked
/// the state with the HTLC, a moment later.
const PREIMAGES: usize = 1_024;

/// Whose HTLC it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HtlcKind {
    /// A payment of ours.
    Send,
    /// A payment to us.
    Receive,
    /// A payment that goes through this node.
    Forward,
}

/// What happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HtlcStep {
    /// It was sent.
    Sent {
        amount_msat: u64,
        /// The height at which it times out.
        expiry_height: u32,
    },
    /// The preimage is told of our own payments only.
    Settled(Option<PaymentPreimage>),
    /// A node behind us failed it.
    FailedBehind,
    /// We failed it.
    FailedHere(LocalHTLCFailureReason),
}

/// Something happened to an HTLC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HtlcEvent {
    /// Nanoseconds since 1970.
    pub at_ns: u64,
    pub kind: HtlcKind,
    /// The number of the channel that it came by; none for a payment of ours.
    pub incoming_scid: Option<u64>,
    /// The number of the channel that it left or was to leave by; none for a payment to us.
    pub outgoing_scid: Option<u64>,
    pub step: HtlcStep,
}

/// Where the events come from. Clones are the same feed.
#[derive(Debug, Clone)]
pub struct HtlcFeed {
    events: broadcast::Sender<HtlcEvent>,
    preimages: Arc<Mutex<VecDeque<(PaymentId, PaymentPreimage)>>>,
}

impl Default for HtlcFeed {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(BACKLOG),
            preimages: Arc::default(),
        }
    }
}

impl HtlcFeed {
    /// All that happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<HtlcEvent> {
        self.events.subscribe()
    }

    /// A payment of ours left by this channel.
    pub fn sent(&self, outgoing_scid: Option<u64>, amount_msat: u64, expiry_height: u32) {
        let step = HtlcStep::Sent {
            amount_msat,
            expiry_height,
        };
        self.of_ours(outgoing_scid, step);
    }

    /// A payment of ours is paid; LDK tells the path of it with [`HtlcFeed::send_settled`].
    pub fn preimage(&self, id: PaymentId, preimage: PaymentPreimage) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let mut preimages = self.lock();
        if preimages.len() >= PREIMAGES {
            preimages.pop_front();
        }
        preimages.push_back((id, preimage));
    }

    /// A payment of ours is paid that left by this channel.
    pub fn send_settled(&self, id: &PaymentId, outgoing_scid: Option<u64>) {
        let mut preimages = self.lock();
        let place = preimages.iter().position(|(known, _)| known == id);
        let preimage = place.and_then(|place| preimages.remove(place));
        drop(preimages);
        let preimage = preimage.map(|(_, preimage)| preimage);
        self.of_ours(outgoing_scid, HtlcStep::Settled(preimage));
    }

    /// A payment of ours failed on its way.
    pub fn send_failed(&self, outgoing_scid: Option<u64>) {
        self.of_ours(outgoing_scid, HtlcStep::FailedBehind);
    }

    fn of_ours(&self, outgoing_scid: Option<u64>, step: HtlcStep) {
        self.tell(HtlcKind::Send, None, outgoing_scid, step);
    }

    /// Tells those who listen; if nobody does, it is forgotten.
    pub(super) fn tell(
        &self,
        kind: HtlcKind,
        incoming_scid: Option<u64>,
        outgoing_scid: Option<u64>,
        step: HtlcStep,
    ) {
        let _ = self.events.send(HtlcEvent {
            at_ns: now_ns(),
            kind,
            incoming_scid,
            outgoing_scid,
            step,
        });
    }

    /// Ignores poisoning: no holder of this lock can panic in the middle of a change.
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(PaymentId, PaymentPreimage)>> {
        self.preimages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preimage_finds_its_path() {
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
    fn preimages_are_not_kept_for_nobody() {
        let feed = HtlcFeed::default();
        feed.preimage(PaymentId([1; 32]), PaymentPreimage([7; 32]));
        assert!(feed.lock().is_empty());
        let _listening = feed.listen();
        for _ in 0..2 * PREIMAGES {
            feed.preimage(PaymentId([1; 32]), PaymentPreimage([7; 32]));
        }
        assert_eq!(feed.lock().len(), PREIMAGES);
    }
}
