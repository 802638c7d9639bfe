//! Shows on stderr what is being measured and how long it takes.

use std::time::{Duration, Instant};

/// The progress of a known number of steps that take about equally long.
#[derive(Debug)]
pub(super) struct Progress {
    steps: usize,
    done: usize,
    /// Expected time of a step; used until the first is done.
    expected: Duration,
    start: Instant,
}

impl Progress {
    pub(super) fn new(steps: usize, expected: Duration) -> Self {
        Self {
            steps,
            done: 0,
            expected,
            start: Instant::now(),
        }
    }

    /// Prints the next step before it starts.
    pub(super) fn next(&mut self, what: &str) {
        let left = left(self.steps, self.done, self.start.elapsed(), self.expected);
        self.done += 1;
        eprintln!(
            "{} of {}: {what}; about {} left",
            self.done,
            self.steps,
            rounded(left)
        );
    }
}

/// The expected time of the steps that are not done.
fn left(steps: usize, done: usize, elapsed: Duration, expected: Duration) -> Duration {
    let left = u32::try_from(steps.saturating_sub(done)).unwrap_or(u32::MAX);
    match u32::try_from(done) {
        Ok(done) if done > 0 => elapsed / done * left,
        _ => expected * left,
    }
}

/// Formats a time in seconds, or in minutes from two minutes on.
fn rounded(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_from_the_steps_done() {
        let seconds = Duration::from_secs;
        assert_eq!(left(10, 0, seconds(0), seconds(28)), seconds(280));
        assert_eq!(left(10, 4, seconds(40), seconds(28)), seconds(60));
        assert_eq!(left(10, 10, seconds(40), seconds(28)), seconds(0));
    }

    #[test]
    fn long_times_are_in_minutes() {
        assert_eq!(rounded(Duration::from_secs(119)), "119 s");
        assert_eq!(rounded(Duration::from_secs(121)), "3 min");
    }
}
