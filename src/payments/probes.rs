//! Probes in flight.

use std::collections::HashMap;
use std::sync::Mutex;

use lightning::ln::channelmanager::PaymentId;
use tokio::sync::oneshot;

use crate::sync::lock;

/// The failure of a probe.
pub(super) struct ProbeFailure {
    pub(super) by_receiver: bool,
    pub(super) failed_channel: Option<u64>,
}

/// Probes in flight, by LDK's payment id.
#[derive(Default)]
pub(super) struct Probes(Mutex<HashMap<PaymentId, oneshot::Sender<ProbeFailure>>>);

impl Probes {
    /// Adds a probe. Its failure can be awaited.
    pub(super) fn add(&self, id: PaymentId) -> oneshot::Receiver<ProbeFailure> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.0).insert(id, sender);
        receiver
    }

    /// Removes a probe that was not sent.
    pub(super) fn remove(&self, id: &PaymentId) {
        lock(&self.0).remove(id);
    }

    /// Reports a failure if the HTLC was a probe.
    pub(super) fn failed(&self, id: &PaymentId, failure: ProbeFailure) {
        if let Some(waiting) = lock(&self.0).remove(id) {
            // The caller may have stopped waiting.
            let _ = waiting.send(failure);
        }
    }
}
