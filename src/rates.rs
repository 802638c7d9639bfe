//! Bounds on how often something may happen: a token bucket, also one for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many at once, and one more for each interval.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub burst: u32,
    pub interval: Duration,
}

/// What is left of a rate. An unused bucket is full.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    pub fn has_one(&self, rate: Rate, now: Instant) -> bool {
        self.after_one(rate, now) <= now + rate.interval * rate.burst
    }

    /// Takes one; false if there was none.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let has_one = self.has_one(rate, now);
        if has_one {
            self.full_at = self.after_one(rate, now);
        }
        has_one
    }

    /// Puts back so many, as far as there is room.
    pub fn put(&mut self, rate: Rate, count: u32) {
        let earlier = self.full_at.checked_sub(rate.interval * count);
        self.full_at = earlier.unwrap_or(self.full_at);
    }

    fn after_one(&self, rate: Rate, now: Instant) -> Instant {
        self.full_at.max(now) + rate.interval
    }
}

/// The same rate for each of many keys. Only buckets that are not full take memory.
pub struct Rates<K> {
    rate: Rate,
    most: usize,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Eq + Hash> Rates<K> {
    /// At most `most` keys are held to the rate at a time. Beyond that new ones are free, so that nobody
    /// can keep others out by using many keys.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self {
            rate,
            most,
            buckets: Mutex::default(),
        }
    }

    /// Whether [`Rates::take`] would succeed.
    pub fn has_one(&self, key: &K) -> bool {
        let now = Instant::now();
        let buckets = self.buckets();
        let bucket = buckets.get(key);
        bucket.is_none_or(|bucket| bucket.has_one(self.rate, now))
    }

    /// Takes one; false if there was none.
    pub fn take(&self, key: K) -> bool {
        self.take_at(key, Instant::now())
    }

    fn take_at(&self, key: K, now: Instant) -> bool {
        let mut buckets = self.buckets();
        if buckets.len() >= self.most && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
            if buckets.len() >= self.most {
                return true;
            }
        }
        let bucket = buckets.entry(key).or_insert_with(|| Bucket::full(now));
        bucket.take(self.rate, now)
    }

    /// No code that holds this lock can panic halfway through a change.
    fn buckets(&self) -> MutexGuard<'_, HashMap<K, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: Rate = Rate {
        burst: 3,
        interval: SECOND,
    };

    #[test]
    fn a_burst_is_followed_by_one_for_each_interval() {
        let (rates, start) = (Rates::new(RATE, 10), Instant::now());
        let taken = |key, at| (0..9).filter(|_| rates.take_at(key, at)).count();
        assert_eq!(taken('a', start), 3);
        assert_eq!(taken('a', start + SECOND / 2), 0);
        assert_eq!(taken('a', start + SECOND), 1);
        assert_eq!(taken('b', start + SECOND), 3, "others have their own");
        assert_eq!(taken('a', start + 60 * SECOND), 3, "no more than a burst");
    }

    #[test]
    fn what_is_put_back_can_be_taken_again() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        assert!((0..3).all(|_| bucket.take(RATE, now)));
        assert!(!bucket.has_one(RATE, now));
        bucket.put(RATE, 2);
        assert!(bucket.take(RATE, now) && bucket.take(RATE, now) && !bucket.take(RATE, now));
        bucket.put(RATE, 100);
        assert!((0..3).all(|_| bucket.take(RATE, now)) && !bucket.take(RATE, now));
    }

    #[test]
    fn memory_is_bounded_and_newcomers_are_not_kept_out() {
        let (rates, start) = (Rates::new(RATE, 2), Instant::now());
        assert!((0..10).all(|key| rates.take_at(key, start)));
        assert_eq!(rates.buckets().len(), 2);
        assert!(rates.take_at(10, start + SECOND));
        assert_eq!(rates.buckets().len(), 1, "full buckets are forgotten");
    }
}
