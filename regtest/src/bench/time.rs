//! Units of time in tables.

use std::time::Duration;

/// Converts to milliseconds.
pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
