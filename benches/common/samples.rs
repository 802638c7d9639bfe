//! The times of an operation on a small and on a large database.

use std::time::Duration;

/// The times of one operation on both databases, measured in turn.
pub(crate) struct Samples {
    /// The pairs that are not counted: the first calls prepare statements and read pages.
    warm_up: usize,
    small: Vec<Duration>,
    large: Vec<Duration>,
}

impl Samples {
    /// Counts no pairs before this one.
    pub(crate) fn after(warm_up: usize) -> Self {
        Self {
            warm_up,
            small: Vec::new(),
            large: Vec::new(),
        }
    }

    /// Adds the pair with this number.
    pub(crate) fn add(&mut self, n: usize, small: Duration, large: Duration) {
        if n >= self.warm_up {
            self.small.push(small);
            self.large.push(large);
        }
    }

    /// Prints the medians and returns their ratio.
    pub(crate) fn report(mut self, what: &str) -> f64 {
        let (small, large) = (median(&mut self.small), median(&mut self.large));
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        println!(
            "{what:<52} {:>8.0} µs {:>8.0} µs {ratio:>8.2}",
            us(small),
            us(large)
        );
        ratio
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
