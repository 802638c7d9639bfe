//! What LDK says about our attempts. Each function is named after the event that it takes.
//!
//! They queue rows and return: what they queued is on disk with, or before, the manager that has
//! forgotten the event. An event that comes again finds its attempt resolved and changes nothing.

use std::sync::Arc;

use lightning::events::PathFailure;
use lightning::ln::channelmanager::PaymentId;
use lightning::routing::router::Path;
use lightning_types::payment::PaymentPreimage;

use super::send::{Active, Payments, lock, now_ns};
use crate::storage::payments::AttemptFailure;

impl Payments {
    /// The HTLC was fulfilled.
    pub fn payment_sent(self: &Arc<Self>, id: &PaymentId, preimage: &PaymentPreimage) {
        let Some((active, attempt_id)) = self.known_attempt(id) else {
            return;
        };
        let mut running = lock(&active.running);
        if running
            .flow
            .settled(attempt_id, preimage.0, now_ns())
            .is_some()
        {
            self.store_attempt(&running, attempt_id);
            self.settle_up(&active, &mut running);
        }
    }

    /// The HTLC came back.
    pub fn payment_path_failed(
        self: &Arc<Self>,
        id: &PaymentId,
        permanently: bool,
        failure: &PathFailure,
        path: &Path,
        failed_channel: Option<u64>,
    ) {
        let Some((active, attempt_id)) = self.known_attempt(id) else {
            self.probe_failed(id, permanently, failed_channel);
            return;
        };
        tracing::debug!(
            attempt_id,
            permanently,
            failed_channel,
            "an attempt failed: {}",
            describe(failure)
        );
        // A channel that was not usable when we sent is not tried again anyway, and may be in a moment.
        if let (PathFailure::OnPath { .. }, Some(channel)) = (failure, failed_channel) {
            lock(&active.running).failed_channels.push(channel);
        }
        let failure = AttemptFailure {
            by_receiver: permanently,
            source_index: source_index(path, permanently, failed_channel),
            height: self.outbound.height(),
        };
        self.attempt_failed(&active, attempt_id, Some(failure));
    }

    /// LDK has let go of the attempt. It failed before, unless LDK could not even tell why.
    pub fn payment_failed(self: &Arc<Self>, id: &PaymentId) {
        if let Some((active, attempt_id)) = self.known_attempt(id) {
            self.attempt_failed(&active, attempt_id, None);
        }
    }

    fn attempt_failed(
        self: &Arc<Self>,
        active: &Arc<Active>,
        attempt_id: u64,
        failure: Option<AttemptFailure>,
    ) {
        let mut running = lock(&active.running);
        if running.flow.failed(attempt_id, failure, now_ns()).is_none() {
            return;
        }
        self.store_attempt(&running, attempt_id);
        let identifier = running.flow.record.identifier;
        drop(running);
        self.spawn_advance(identifier);
    }

    fn known_attempt(&self, id: &PaymentId) -> Option<(Arc<Active>, u64)> {
        let found = self.attempt(id);
        if found.is_none() {
            tracing::debug!(%id, "an event for an attempt that ended before");
        }
        found
    }
}

/// Which node of the path returned the failure: 0 is ourselves, the last one the receiver. LDK names
/// the channel, and the node before it is the one that could not use it.
fn source_index(path: &Path, by_receiver: bool, failed_channel: Option<u64>) -> u32 {
    let receiver = path.hops.len();
    let before_channel = |scid| {
        path.hops
            .iter()
            .position(|hop| hop.short_channel_id == scid)
    };
    let index = match (by_receiver, failed_channel) {
        (false, Some(scid)) => before_channel(scid).unwrap_or(receiver),
        _ => receiver,
    };
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn describe(failure: &PathFailure) -> String {
    match failure {
        PathFailure::InitialSend { err } => format!("not sent: {err:?}"),
        PathFailure::OnPath {
            network_update: Some(update),
        } => format!("{update:?}"),
        PathFailure::OnPath {
            network_update: None,
        } => "refused on the way".into(),
    }
}
