//! Renews the TLS certificate while the node runs.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Tls;

/// How often to check whether the system clock was set.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// How often to check the certificate if the clock is not set.
const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(86_400);
/// The smallest jump that counts as setting the clock; time synchronization makes smaller corrections.
const MIN_CLOCK_JUMP: Duration = Duration::from_secs(60);

/// Checks the certificate once a day, and soon after the system clock was set: a machine without a
/// battery-backed clock boots in 1970 and synchronizes later.
pub(crate) async fn keep_valid(tls: Arc<Tls>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(CLOCK_CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::new(SystemTime::now(), Instant::now());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let now = SystemTime::now();
        if !watch.is_due(now, Instant::now()) {
            continue;
        }
        let tls = tls.clone();
        let checked = tokio::task::spawn_blocking(move || tls.check(now)).await;
        match checked {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::info!("new connections use a new TLS certificate"),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot check the TLS certificate, keeping the current one");
            }
            Err(error) => tracing::error!(%error, "the TLS certificate check failed"),
        }
    }
}

/// The times of the last checks.
struct Watch {
    /// The system clock at the last clock check.
    time: SystemTime,
    /// The monotonic clock at the last clock check.
    at: Instant,
    /// The last check of the certificate.
    checked: Instant,
}

impl Watch {
    fn new(time: SystemTime, at: Instant) -> Self {
        Self {
            time,
            at,
            checked: at,
        }
    }

    /// Returns whether to check the certificate now: the system clock jumped against the monotonic clock, or
    /// a day has passed.
    fn is_due(&mut self, time: SystemTime, at: Instant) -> bool {
        let expected = self.time + at.duration_since(self.at);
        let difference = match time.duration_since(expected) {
            Ok(ahead) => ahead,
            Err(behind) => behind.duration(),
        };
        (self.time, self.at) = (time, at);
        let is_due = difference > MIN_CLOCK_JUMP
            || at.duration_since(self.checked) >= CERTIFICATE_CHECK_INTERVAL;
        if is_due {
            self.checked = at;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn certificate_is_checked_once_a_day() {
        let (time, at) = (SystemTime::UNIX_EPOCH, Instant::now());
        let mut watch = Watch::new(time, at);
        let due = |minute: &u32| watch.is_due(time + MINUTE * *minute, at + MINUTE * *minute);
        let minutes: Vec<_> = (0..3_000).filter(due).collect();
        assert_eq!(minutes, [1_440, 2_880]);
    }

    #[test]
    fn clock_jumps_in_both_directions_trigger_one_check() {
        let at = Instant::now();
        let mut watch = Watch::new(SystemTime::UNIX_EPOCH, at);
        let right = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert!(watch.is_due(right, at + MINUTE));
        assert!(!watch.is_due(right + MINUTE, at + 2 * MINUTE));
        let slewed = right + 2 * MINUTE + Duration::from_secs(5);
        assert!(!watch.is_due(slewed, at + 3 * MINUTE));
        assert!(watch.is_due(right - MINUTE, at + 4 * MINUTE));
    }
}
