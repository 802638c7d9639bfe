//! Formats times in UTC.

use chrono::DateTime;

/// Formats a Unix time in seconds as `2026-11-30T23:59:59Z`, or as the plain number if it is out of range.
#[must_use]
pub fn utc_text(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok();
    time.and_then(|time| DateTime::from_timestamp(time, 0))
        .map_or(seconds.to_string(), |time| {
            time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_times_and_falls_back_to_seconds() {
        assert_eq!(utc_text(1_000_000_000), "2001-09-09T01:46:40Z");
        assert_eq!(utc_text(u64::MAX), u64::MAX.to_string());
    }
}
