//! Remembers short channel ids whose look-up failed.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::announcers::Finding;

/// The maximum number of remembered ids: less than a megabyte.
const MAX_CHANNELS: usize = 10_000;
/// How long an id is remembered. A reorg may bring a channel back.
const RETENTION: Duration = Duration::from_secs(60 * 60);

/// The findings on rejected channels of the last hour.
#[derive(Default)]
pub(super) struct RefusedChannels {
    findings: HashMap<u64, Finding>,
    oldest_first: VecDeque<(u64, Instant)>,
}

impl RefusedChannels {
    /// Stores the finding on a channel. An existing entry keeps its age.
    pub(super) fn insert(&mut self, scid: u64, finding: Finding, now: Instant) {
        if self.findings.insert(scid, finding).is_none() {
            self.oldest_first.push_back((scid, now));
        }
        if self.findings.len() > MAX_CHANNELS {
            self.forget_oldest();
        }
    }

    /// Returns the finding on a channel, unless it is older than an hour.
    pub(super) fn get(&mut self, scid: u64, now: Instant) -> Option<Finding> {
        while self
            .oldest_first
            .front()
            .is_some_and(|(_, since)| *since + RETENTION <= now)
        {
            self.forget_oldest();
        }
        self.findings.get(&scid).copied()
    }

    fn forget_oldest(&mut self) {
        if let Some((scid, _)) = self.oldest_first.pop_front() {
            self.findings.remove(&scid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_remembered_for_an_hour() {
        let (mut refused, now) = (RefusedChannels::default(), Instant::now());
        refused.insert(1, Finding::Closed, now);
        refused.insert(1, Finding::Invalid, now + RETENTION / 2);
        let almost = now + RETENTION - Duration::from_secs(1);
        assert_eq!(refused.get(1, almost), Some(Finding::Invalid));
        assert_eq!(refused.get(2, almost), None);
        assert_eq!(refused.get(1, now + RETENTION), None);
    }

    #[test]
    fn number_of_channels_is_limited() {
        let (mut refused, now) = (RefusedChannels::default(), Instant::now());
        for scid in 0..2 * MAX_CHANNELS as u64 {
            refused.insert(scid, Finding::Invalid, now);
        }
        assert_eq!(refused.findings.len(), MAX_CHANNELS);
        assert_eq!(refused.oldest_first.len(), MAX_CHANNELS);
        assert_eq!(refused.get(0, now), None, "oldest dropped");
    }
}
