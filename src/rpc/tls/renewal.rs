//! Keeps the certificate valid while the node runs.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Tls;

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(30);
/// How often the certificate is looked at while nobody sets the clock.
const CHECK: Duration = Duration::from_secs(86_400);
/// Clocks are corrected in small steps all the time; by more than this one is set.
const STEP: Duration = Duration::from_secs(60);

/// Looks at the certificate once a day, and soon after somebody has set the clock: a board without a
/// battery starts in 1970 and asks for the time later.
pub async fn keep_valid(tls: Arc<Tls>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK);
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
            Ok(Ok(true)) => tracing::info!("new connections get another TLS certificate"),
            Ok(Err(error)) => tracing::error!(%error, "the TLS certificate stays as it was"),
            Err(error) => tracing::error!(%error, "the TLS certificate was not looked at"),
        }
    }
}

/// The last look at both clocks, and when the certificate was last looked at.
struct Watch {
    time: SystemTime,
    at: Instant,
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

    /// Whether the certificate is to be looked at now: the time of day went on otherwise than the
    /// monotonic clock, or a day has passed.
    fn is_due(&mut self, time: SystemTime, at: Instant) -> bool {
        let expected = self.time + at.duration_since(self.at);
        let apart = match time.duration_since(expected) {
            Ok(ahead) => ahead,
            Err(behind) => behind.duration(),
        };
        (self.time, self.at) = (time, at);
        let is_due = apart > STEP || at.duration_since(self.checked) >= CHECK;
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
    fn the_certificate_is_looked_at_once_a_day() {
        let (time, at) = (SystemTime::UNIX_EPOCH, Instant::now());
        let mut watch = Watch::new(time, at);
        let due = |minute: &u32| watch.is_due(time + MINUTE * *minute, at + MINUTE * *minute);
        let minutes: Vec<_> = (0..3_000).filter(due).collect();
        assert_eq!(minutes, [1_440, 2_880]);
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_once_in_both_directions() {
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
