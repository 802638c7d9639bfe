//! Advancing a payment: finding routes for the open amount, sending attempts, and ending it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bitcoin::hex::DisplayHex;
use lightning::routing::router::Path;
use tokio::time::sleep;

use super::active::{Active, AttemptTemplate};
use super::hops::hops;
use super::ids;
use super::lifecycle::{Ending, NewAttempt, Open, Step};
use super::onion::onion_fields;
use super::outbound_htlcs::{NoPaths, RouteQuestion};
use super::progress::Progress;
use super::registry::Payments;
use super::shards::ShardRandomness;
use super::view::PaymentView;
use crate::clock::{unix_nanos, unix_seconds};
use crate::model::payment::{FailureReason, PaymentState};
use crate::routing::FailedChannel;
use crate::storage::payments::{PutAttempt, PutPayment};
use crate::sync::lock;
use crash_points::Point;

impl Payments {
    /// Advances the payment on a blocking thread: finding routes takes too long for event handlers
    /// and async tasks.
    pub(super) fn spawn_advance(self: &Arc<Self>, identifier: [u8; 32]) {
        let payments = self.clone();
        self.runtime
            .spawn_blocking(move || payments.advance(&identifier));
    }

    /// Schedules one retry, however many attempts fail during the pause.
    fn spawn_advance_after(
        self: &Arc<Self>,
        pause: impl Future<Output = ()> + Send + 'static,
        active: &Arc<Active>,
        progress: &mut Progress,
    ) {
        if !progress.start_pause() {
            return;
        }
        let (payments, active) = (self.clone(), active.clone());
        self.runtime.spawn(async move {
            pause.await;
            lock(&active.progress).end_pause();
            payments.spawn_advance(active.template.identifier);
        });
    }

    /// Sends attempts for the open amount, or ends the payment.
    ///
    /// Only one thread at a time does this for a payment. The state is not locked during the route
    /// search, so that event handlers do not wait; if they change it, the search is repeated.
    fn advance(self: &Arc<Self>, identifier: &[u8; 32]) {
        let Some(active) = self.active(identifier) else {
            return;
        };
        let _advancing = lock(&active.advancing);
        loop {
            let (open, failed_channels) = {
                let mut progress = lock(&active.progress);
                match progress.lifecycle.step(unix_seconds()) {
                    Step::Send(_) if progress.must_pause() => {
                        active
                            .view
                            .send_replace(PaymentView::of(&progress.lifecycle));
                        let pause = sleep(progress.next_pause());
                        return self.spawn_advance_after(pause, &active, &mut progress);
                    }
                    Step::Send(open) => (open, progress.failed_channels.resting(Instant::now())),
                    Step::Wait | Step::End(_) => return self.settle_up(&active, &mut progress),
                }
            };
            let slot = self.slots.next();
            let found = self.find_paths(&active.template, open, &failed_channels);
            let mut progress = lock(&active.progress);
            if progress.lifecycle.step(unix_seconds()) != Step::Send(open) {
                continue;
            }
            match found.and_then(not_empty) {
                Ok(paths) => self.send_paths(&active, &mut progress, paths),
                Err(NoPaths::ChannelsFull) if self.slots.are_moving(progress.full_since()) => {
                    return self.spawn_advance_after(slot, &active, &mut progress);
                }
                Err(why) => match pause_without_route(&mut progress, why.into()) {
                    Some(pause) => {
                        return self.spawn_advance_after(sleep(pause), &active, &mut progress);
                    }
                    None => self.give_up(&mut progress, why.into()),
                },
            }
        }
    }

    fn find_paths(
        &self,
        template: &AttemptTemplate,
        open: Open,
        failed_channels: &[FailedChannel],
    ) -> Result<Vec<Path>, NoPaths> {
        let shard = template.largest_shard.clone();
        let onion = onion_fields(template, shard).ok_or(NoPaths::For(FailureReason::Error))?;
        self.outbound.find_paths(&RouteQuestion {
            destination: template.recipient.destination,
            open,
            terms: &template.terms,
            route_hints: &template.recipient.route_hints,
            onion: &onion,
            failed_channels,
        })
    }

    fn send_paths(&self, active: &Arc<Active>, progress: &mut Progress, paths: Vec<Path>) {
        let height = self.outbound.height();
        for path in paths {
            let attempt_id = self.next_attempt.fetch_add(1, Ordering::Relaxed);
            let hops = hops(&path, height);
            match progress.lifecycle.attempt(
                attempt_id,
                hops,
                self.shard_randomness(),
                unix_nanos(),
            ) {
                Ok(attempt) => self.send_attempt(active, progress, path, &attempt),
                Err(error) => {
                    tracing::error!("cannot split the root of a payment: {error}");
                    self.give_up(progress, FailureReason::Error);
                    break;
                }
            }
        }
        active
            .view
            .send_replace(PaymentView::of(&progress.lifecycle));
    }

    /// Stores the row, then sends the HTLC: see the module docs of `payments`.
    fn send_attempt(
        &self,
        active: &Arc<Active>,
        progress: &mut Progress,
        path: Path,
        attempt: &NewAttempt,
    ) {
        self.store_attempt(progress, attempt.attempt_id);
        crash_points::when_stored(Point::AttemptStored, || self.store.flush());
        let id = ids::of(&attempt.hash, attempt.attempt_id);
        self.register(id, active, attempt.attempt_id);
        let sent = onion_fields(&active.template, attempt.shard.clone())
            .ok_or_else(|| "cannot build the onion".to_owned())
            .and_then(|onion| self.outbound.send(path, attempt.hash, onion, id));
        crash_points::at(Point::AttemptSent);
        if let Err(reason) = sent {
            tracing::warn!("LDK did not send an attempt: {reason}");
            progress
                .lifecycle
                .failed(attempt.attempt_id, None, unix_nanos());
            self.store_attempt(progress, attempt.attempt_id);
            self.give_up(progress, FailureReason::Error);
        }
    }

    /// Stops further attempts for this reason. The reason is stored, so it survives a restart.
    pub(super) fn give_up(&self, progress: &mut Progress, reason: FailureReason) {
        if progress.lifecycle.give_up(reason) {
            self.store
                .submit(PutPayment(progress.lifecycle.record.clone()));
        }
    }

    /// Stores an attempt's row. The HTLC is sent after it, or the manager has already changed
    /// before it.
    pub(super) fn store_attempt(&self, progress: &Progress, attempt_id: u64) {
        let row = progress
            .lifecycle
            .attempts
            .iter()
            .find(|a| a.attempt_id == attempt_id);
        if let Some(row) = row {
            self.store.submit_deferred(PutAttempt(row.clone()));
        }
    }

    /// Ends the payment if it is over, and notifies subscribers.
    pub(super) fn settle_up(self: &Arc<Self>, active: &Arc<Active>, progress: &mut Progress) {
        match progress.lifecycle.step(unix_seconds()) {
            Step::End(ending) if progress.lifecycle.record.state == PaymentState::InFlight => {
                self.end(active, progress, ending);
            }
            Step::End(_) => {}
            Step::Send(_) | Step::Wait => {
                active
                    .view
                    .send_replace(PaymentView::of(&progress.lifecycle));
            }
        }
    }

    /// Ends the payment. Subscribers are notified once the end is on disk.
    fn end(self: &Arc<Self>, active: &Arc<Active>, progress: &mut Progress, ending: Ending) {
        crash_points::when_stored(Point::BeforeEnd, || self.store.flush());
        progress.lifecycle.end(ending);
        // The peer's `commitment_signed` follows its `update_fulfill_htlc`.
        let ticket = self
            .store
            .submit_soon(PutPayment(progress.lifecycle.record.clone()));
        let view = PaymentView::of(&progress.lifecycle);
        log_end(&view);
        let (payments, active) = (self.clone(), active.clone());
        self.runtime.spawn(async move {
            payments.store.durable(ticket).await;
            crash_points::at(Point::EndStored);
            payments.forget(&active, &view);
            active.view.send_replace(view);
        });
    }

    fn shard_randomness(&self) -> ShardRandomness {
        let [a, b, c, d, ..] = self.outbound.random_bytes();
        let index = u32::from_be_bytes([a, b, c, d]);
        ShardRandomness {
            share: self.outbound.random_bytes(),
            index,
        }
    }
}

/// How long to wait before the next search, if there may be a route then.
fn pause_without_route(progress: &mut Progress, reason: FailureReason) -> Option<Duration> {
    match reason {
        FailureReason::NoRoute | FailureReason::InsufficientBalance => {
            progress.pause_without_route()
        }
        _ => None,
    }
}

/// An empty result would repeat the search forever.
fn not_empty(paths: Vec<Path>) -> Result<Vec<Path>, NoPaths> {
    if paths.is_empty() {
        Err(NoPaths::For(FailureReason::NoRoute))
    } else {
        Ok(paths)
    }
}

fn log_end(view: &PaymentView) {
    tracing::info!(
        payment = %view.record.identifier.as_hex(),
        amount_msat = view.record.terms.amount_msat,
        fee_msat = view.fee_msat(),
        state = ?view.record.state,
        reason = ?view.record.failure_reason,
        "payment ended"
    );
}
