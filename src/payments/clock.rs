//! The current time, as stored with payments.

use std::time::{SystemTime, UNIX_EPOCH};

/// The current time in seconds since 1970.
pub(super) fn now() -> u64 {
    now_ns() / 1_000_000_000
}

/// The current time in nanoseconds since 1970.
pub(super) fn now_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
