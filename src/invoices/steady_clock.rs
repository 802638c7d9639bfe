//! Detects clock steps before expired invoices are canceled.
//!
//! Cancellation is final, so a clock that is wrong for a minute (a board without a battery, an
//! operator's mistake) would end every invoice with an expiry. After a step nothing is canceled
//! until the clock has been steady for a while. During that time payments are still refused by the
//! current clock, and are accepted again once it is corrected.

use std::time::{Duration, Instant};

/// Largest difference from the monotonic clock between two checks that is not a step, in seconds.
/// Slow clock corrections (NTP slewing) stay below it.
const TOLERANCE: u64 = 60;
/// How long the clock must be steady after a step.
const STEADY: Duration = Duration::from_secs(600);

/// Compares the system clock with the monotonic clock, which cannot be set. The latter stands still
/// while the machine sleeps, so waking up counts as a step.
#[derive(Default)]
pub(super) struct SteadyClock {
    last: Option<(Instant, u64)>,
    stepped: Option<Instant>,
}

impl SteadyClock {
    /// Returns how long to wait until the clock can be trusted; `None` if it can be now. Call it
    /// regularly.
    ///
    /// `wall` is in seconds since 1970.
    pub(super) fn wait(&mut self, monotonic: Instant, wall: u64) -> Option<Duration> {
        if let Some((before, then)) = self.last.replace((monotonic, wall)) {
            let expected = then.saturating_add((monotonic - before).as_secs());
            if wall.abs_diff(expected) > TOLERANCE {
                tracing::warn!(
                    "system clock stepped from {expected} to {wall} (seconds since 1970); expired \
                     invoices are not canceled until it has been steady for 10 minutes"
                );
                self.stepped = Some(monotonic);
            }
        }
        let since = monotonic - self.stepped?;
        let rest = STEADY.checked_sub(since).filter(|rest| !rest.is_zero());
        if rest.is_none() {
            self.stepped = None;
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const YEAR: u64 = 31_536_000;

    #[test]
    fn waits_until_a_stepped_clock_is_steady() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut clock = SteadyClock::default();
        assert_eq!(clock.wait(start, NOW), None);
        assert_eq!(
            clock.wait(after(600), NOW + 601),
            None,
            "a slightly fast clock is not a step"
        );
        // Set one year ahead, and back a minute later.
        assert_eq!(clock.wait(after(610), NOW + 610 + YEAR), Some(STEADY));
        let rest = Duration::from_secs(540);
        assert_eq!(clock.wait(after(670), NOW + 670 + YEAR), Some(rest));
        assert_eq!(clock.wait(after(680), NOW + 680), Some(STEADY));
        assert_eq!(
            clock.wait(after(1_279), NOW + 1_279),
            Some(Duration::from_secs(1))
        );
        assert_eq!(clock.wait(after(1_280), NOW + 1_280), None);
        assert_eq!(clock.wait(after(1_290), NOW + 1_290), None);
    }
}
