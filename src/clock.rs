//! The system clock as times in rows and API responses: since 1970, UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The current time in seconds since 1970; 0 if the clock is set to an earlier time.
pub fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// The current time in nanoseconds since 1970; 0 if the clock is set to an earlier time.
pub fn unix_nanos() -> u64 {
    u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX)
}

/// The current time since 1970; zero if the clock is set to an earlier time.
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
