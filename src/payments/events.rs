//! LDK's events about our attempts. Each function is named after the event it handles.
//!
//! The functions queue rows and return. The rows are on disk before or with the manager that no
//! longer has the event. A repeated event finds its attempt resolved and changes nothing.

use std::sync::Arc;
use std::time::Instant;

use lightning::events::PathFailure;
use lightning::ln::channelmanager::PaymentId;
use lightning::routing::router::Path;
use lightning_types::payment::PaymentPreimage;

use super::active::Active;
use super::failure;
use super::probes::ProbeFailure;
use super::registry::Payments;
use crate::clock::unix_nanos;
use crate::model::attempt::AttemptFailure;
use crate::model::payment::{FailureReason, PaymentState};
use crate::sync::lock;
use crash_points::Point;

impl Payments {
    /// The HTLC was fulfilled.
    pub fn payment_sent(self: &Arc<Self>, id: &PaymentId, preimage: &PaymentPreimage) {
        let Some((active, attempt_id)) = self.known_attempt(id) else {
            return;
        };
        let mut progress = lock(&active.progress);
        if progress
            .lifecycle
            .settled(attempt_id, *preimage, unix_nanos())
            .is_some()
        {
            self.store_attempt(&progress, attempt_id);
            if progress.lifecycle.is_in_flight() {
                crash_points::at(Point::Settled);
                crash_points::when_stored(Point::SettledStored, || self.store.flush());
            }
            self.settle_up(&active, &mut progress);
        }
    }

    /// The HTLC failed.
    pub fn payment_path_failed(
        self: &Arc<Self>,
        id: &PaymentId,
        permanently: bool,
        failure: &PathFailure,
        path: &Path,
        failed_channel: Option<u64>,
    ) {
        let Some((active, attempt_id)) = self.known_attempt(id) else {
            let failure = ProbeFailure {
                by_receiver: permanently,
                failed_channel,
            };
            self.probes.failed(id, failure);
            return;
        };
        tracing::debug!(
            attempt_id,
            permanently,
            failed_channel,
            "attempt failed: {}",
            describe(failure)
        );
        let seen = failure::outcome(permanently, failure, path, failed_channel);
        if let Some(channel) = seen.channel {
            let mut progress = lock(&active.progress);
            progress.failed_channels.note(channel, Instant::now());
        }
        let failure = AttemptFailure {
            by_receiver: seen.end == Some(FailureReason::IncorrectPaymentDetails),
            timed_out: seen.is_timeout(path),
            invalid_payload: seen.invalid_payload,
            source_index: seen.source_index,
            height: self.outbound.height(),
        };
        self.attempt_failed(&active, attempt_id, Some(failure), seen.end);
    }

    /// LDK has abandoned the attempt. It has failed before, unless LDK could not report the
    /// failure.
    pub fn payment_failed(self: &Arc<Self>, id: &PaymentId) {
        if let Some((active, attempt_id)) = self.known_attempt(id) {
            self.attempt_failed(&active, attempt_id, None, None);
        }
    }

    fn attempt_failed(
        self: &Arc<Self>,
        active: &Arc<Active>,
        attempt_id: u64,
        failure: Option<AttemptFailure>,
        end: Option<FailureReason>,
    ) {
        crash_points::at(Point::BeforeFailed);
        let mut progress = lock(&active.progress);
        if progress.lifecycle.record.state != PaymentState::InFlight {
            return;
        }
        // Applies also if the attempt was marked as failed by a restart before this event.
        if let Some(reason) = end {
            self.give_up(&mut progress, reason);
        }
        if progress
            .lifecycle
            .failed(attempt_id, failure, unix_nanos())
            .is_some()
        {
            progress.note_failure();
            self.store_attempt(&progress, attempt_id);
            crash_points::when_stored(Point::FailureStored, || self.store.flush());
            self.spawn_advance(active.template.identifier);
        }
    }

    fn known_attempt(&self, id: &PaymentId) -> Option<(Arc<Active>, u64)> {
        let found = self.attempt(id);
        if found.is_none() {
            tracing::debug!(%id, "event for an attempt that has already ended");
        }
        found
    }
}

fn describe(failure: &PathFailure) -> String {
    match failure {
        PathFailure::InitialSend { err } => format!("not sent: {err:?}"),
        PathFailure::OnPath {
            network_update: Some(update),
        } => format!("{update:?}"),
        PathFailure::OnPath {
            network_update: None,
        } => "failed along the route".into(),
    }
}
