//! Whether the clock is to be believed when it says that invoices have expired.
//!
//! An invoice that is canceled stays canceled, so a clock that is wrong for a minute (a board without a
//! battery, a mistake) would end all that expire. Until it has gone steadily for a while after a step,
//! nothing is canceled. Meanwhile payments are refused by the clock as it is, and are taken again once it
//! is set right.

use std::time::{Duration, Instant};

/// How far it may move from the machine's monotonic clock between two looks, in seconds. Less is no step:
/// corrections of a clock are slower.
const TOLERANCE: u64 = 60;
/// How long it must go steadily after a step.
const STEADY: Duration = Duration::from_secs(600);

/// Compares the clock with the monotonic one, which nobody sets. That one stands still while the machine
/// sleeps, so waking up counts as a step.
#[derive(Default)]
pub(super) struct SteadyClock {
    last: Option<(Instant, u64)>,
    stepped: Option<Instant>,
}

impl SteadyClock {
    /// To be called now and then. For how long the clock is not to be believed yet; `None`: it is.
    ///
    /// `wall` is in seconds since 1970.
    pub(super) fn wait(&mut self, monotonic: Instant, wall: u64) -> Option<Duration> {
        if let Some((before, then)) = self.last.replace((monotonic, wall)) {
            let expected = then.saturating_add((monotonic - before).as_secs());
            if wall.abs_diff(expected) > TOLERANCE {
                tracing::warn!(
                    "the clock was set from {expected} to {wall} (seconds since 1970); invoices that \
                     have expired are not canceled before it has gone steadily for 10 minutes"
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
    fn a_clock_that_is_set_is_believed_once_it_goes_steadily() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut clock = SteadyClock::default();
        assert_eq!(clock.wait(start, NOW), None);
        assert_eq!(
            clock.wait(after(600), NOW + 601),
            None,
            "it is a little fast"
        );
        // Set a year ahead, and back after a minute.
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
