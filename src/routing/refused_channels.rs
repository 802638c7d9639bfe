//! The short channel ids that were looked up in vain.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::announcers::Worth;

/// Ids that are remembered (less than a megabyte), and for how long: a reorganisation of the chain may
/// bring a channel back.
const MOST: usize = 10_000;
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// What announcements of these channels are worth, for an hour.
#[derive(Default)]
pub(super) struct RefusedChannels {
    worth: HashMap<u64, Worth>,
    oldest_first: VecDeque<(u64, Instant)>,
}

impl RefusedChannels {
    pub(super) fn insert(&mut self, scid: u64, worth: Worth, now: Instant) {
        if self.worth.insert(scid, worth).is_none() {
            self.oldest_first.push_back((scid, now));
        }
        if self.worth.len() > MOST {
            self.forget_oldest();
        }
    }

    pub(super) fn get(&mut self, scid: u64, now: Instant) -> Option<Worth> {
        while self
            .oldest_first
            .front()
            .is_some_and(|(_, since)| *since + MEMORY <= now)
        {
            self.forget_oldest();
        }
        self.worth.get(&scid).copied()
    }

    fn forget_oldest(&mut self) {
        if let Some((scid, _)) = self.oldest_first.pop_front() {
            self.worth.remove(&scid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_refused_for_an_hour() {
        let (mut refused, now) = (RefusedChannels::default(), Instant::now());
        refused.insert(1, Worth::Closed, now);
        refused.insert(1, Worth::Wrong, now + MEMORY / 2);
        let almost = now + MEMORY - Duration::from_secs(1);
        assert_eq!(refused.get(1, almost), Some(Worth::Wrong));
        assert_eq!(refused.get(2, almost), None);
        assert_eq!(refused.get(1, now + MEMORY), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut refused, now) = (RefusedChannels::default(), Instant::now());
        for scid in 0..2 * MOST as u64 {
            refused.insert(scid, Worth::Wrong, now);
        }
        assert_eq!(refused.worth.len(), MOST);
        assert_eq!(refused.oldest_first.len(), MOST);
        assert_eq!(refused.get(0, now), None, "the oldest went");
    }
}
