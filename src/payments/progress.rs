//! The changing state of a payment in progress, and the pauses between its retries.

use std::time::{Duration, Instant};

use super::failed_channels::FailedChannels;
use super::lifecycle::Lifecycle;
use crate::clock::unix_seconds;

/// First delay between retries, while channels are not usable yet and once many attempts have
/// failed. It doubles with each retry, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Retries made without delay. Later ones back off, so that a peer that fails our HTLCs at once
/// cannot fill channels or disk.
const QUICK_RETRIES: u32 = 32;

/// The changing state of a payment in progress.
pub(super) struct Progress {
    pub(super) lifecycle: Lifecycle,
    pub(super) failed_channels: FailedChannels,
    /// Attempts that failed since startup.
    failures: u32,
    /// The number of failed attempts at the time of the last pause.
    paused_at: u32,
    /// Until this time (seconds since 1970), "no route" is retried: channels are not usable right
    /// after startup.
    retry_no_route_until: u64,
    next_pause: Duration,
    /// A new route search is scheduled.
    is_pausing: bool,
    /// When a search first found our channels full.
    full_since: Option<Instant>,
}

impl Progress {
    pub(super) fn new(lifecycle: Lifecycle, retry_no_route_until: u64) -> Self {
        Self {
            lifecycle,
            failed_channels: FailedChannels::default(),
            failures: 0,
            paused_at: 0,
            retry_no_route_until,
            next_pause: FIRST_PAUSE,
            is_pausing: false,
            full_since: None,
        }
    }

    /// Notes that our channels are full. Returns when that was first noticed.
    pub(super) fn full_since(&mut self) -> Instant {
        *self.full_since.get_or_insert_with(Instant::now)
    }

    /// Counts a failed attempt.
    pub(super) fn note_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Returns whether attempts have failed since the last pause, and too many for an immediate
    /// retry.
    pub(super) fn must_pause(&self) -> bool {
        self.failures > QUICK_RETRIES && self.failures > self.paused_at
    }

    /// The length of the next pause.
    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = self.next_pause;
        self.next_pause = LONGEST_PAUSE.min(pause * 2);
        pause
    }

    /// How long to wait for a route if there is none at the moment; `None` if waiting is pointless.
    ///
    /// It waits as long as a temporarily failed channel becomes available within the payment's
    /// timeout.
    pub(super) fn pause_without_route(&mut self) -> Option<Duration> {
        if self.retries_no_route() {
            return Some(self.next_pause());
        }
        let next_try = self.failed_channels.next_try(Instant::now())?;
        let left = self
            .lifecycle
            .record
            .terms
            .deadline
            .saturating_sub(unix_seconds());
        (next_try < Duration::from_secs(left)).then_some(next_try)
    }

    /// Returns whether "no route" may be a passing condition: right after startup, and while shards
    /// wait at the receiver. lnd gives up such a payment, and its shards are held for two minutes;
    /// here a peer that reconnects can complete it. The payment's timeout is the limit.
    fn retries_no_route(&self) -> bool {
        unix_seconds() < self.retry_no_route_until || self.lifecycle.is_in_flight()
    }

    /// Notes the start of a pause. Returns whether it is the only one.
    pub(super) fn start_pause(&mut self) -> bool {
        !std::mem::replace(&mut self.is_pausing, true)
    }

    /// Notes the end of the pause.
    pub(super) fn end_pause(&mut self) {
        self.is_pausing = false;
        self.paused_at = self.failures;
    }
}
