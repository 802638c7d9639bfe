//! Rate limits: a token bucket, and a map of token buckets by key.

use crate::sync::lock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A burst of tokens, and one more token per interval.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub burst: u32,
    pub interval: Duration,
}

/// A token bucket. A new bucket is full.
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

    /// Takes one token; returns false if there was none.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let has_one = self.has_one(rate, now);
        if has_one {
            self.full_at = self.after_one(rate, now);
        }
        has_one
    }

    /// Returns `count` tokens to the bucket, up to the burst size.
    pub fn put(&mut self, rate: Rate, count: u32) {
        let earlier = self.full_at.checked_sub(rate.interval * count);
        self.full_at = earlier.unwrap_or(self.full_at);
    }

    /// Takes `count` tokens even if there are fewer; the bucket then stays empty until the debt is refilled.
    pub fn charge(&mut self, rate: Rate, count: u32, now: Instant) {
        self.full_at = self.full_at.max(now) + rate.interval * count;
    }

    fn after_one(&self, rate: Rate, now: Instant) -> Instant {
        self.full_at.max(now) + rate.interval
    }
}

/// Minimum time between sweeps for full buckets, because a sweep visits every bucket.
const SWEEP: Duration = Duration::from_secs(1);

/// One bucket per key, all with the same rate. Full buckets are removed when the map reaches its limit.
pub struct Rates<K> {
    rate: Rate,
    most: usize,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    of: HashMap<K, Bucket>,
    swept: Option<Instant>,
}

impl<K: Eq + Hash> Rates<K> {
    /// Limits at most `most` keys at a time. Further keys are not limited, so that nobody can lock others
    /// out by using many keys.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self {
            rate,
            most,
            buckets: Mutex::new(Buckets {
                of: HashMap::new(),
                swept: None,
            }),
        }
    }

    /// Returns true if [`Rates::take`] would succeed.
    pub fn has_one(&self, key: &K) -> bool {
        self.has_one_at(key, Instant::now())
    }

    fn has_one_at(&self, key: &K, now: Instant) -> bool {
        let buckets = self.buckets();
        let bucket = buckets.of.get(key);
        bucket.is_none_or(|bucket| bucket.has_one(self.rate, now))
    }

    /// Takes one token; returns false if there was none.
    pub fn take(&self, key: K) -> bool {
        self.take_at(key, Instant::now())
    }

    fn take_at(&self, key: K, now: Instant) -> bool {
        self.buckets()
            .bucket(key, self.most, now)
            .is_none_or(|bucket| bucket.take(self.rate, now))
    }

    /// Takes `count` tokens even if there are fewer.
    pub fn charge(&self, key: K, count: u32) {
        self.charge_at(key, count, Instant::now());
    }

    fn charge_at(&self, key: K, count: u32, now: Instant) {
        if let Some(bucket) = self.buckets().bucket(key, self.most, now) {
            bucket.charge(self.rate, count, now);
        }
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets<K>> {
        lock(&self.buckets)
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Returns the bucket of this key; `None` if the map is full.
    fn bucket(&mut self, key: K, most: usize, now: Instant) -> Option<&mut Bucket> {
        if self.of.len() >= most && !self.of.contains_key(&key) {
            self.sweep(now);
            if self.of.len() >= most {
                return None;
            }
        }
        Some(self.of.entry(key).or_insert_with(|| Bucket::full(now)))
    }

    fn sweep(&mut self, now: Instant) {
        let is_due = |swept: Instant| now >= swept + SWEEP;
        if self.swept.is_none_or(is_due) {
            self.of.retain(|_, bucket| !bucket.is_full(now));
            self.swept = Some(now);
        }
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
    fn allows_a_burst_then_one_per_interval() {
        let (rates, start) = (Rates::new(RATE, 10), Instant::now());
        let taken = |key, at| (0..9).filter(|_| rates.take_at(key, at)).count();
        assert_eq!(taken('a', start), 3);
        assert_eq!(taken('a', start + SECOND / 2), 0);
        assert_eq!(taken('a', start + SECOND), 1);
        assert_eq!(taken('b', start + SECOND), 3, "others have their own");
        assert_eq!(taken('a', start + 60 * SECOND), 3, "no more than a burst");
    }

    #[test]
    fn returned_tokens_can_be_taken_again() {
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
    fn memory_is_bounded_and_new_keys_are_admitted() {
        let (rates, start) = (Rates::new(RATE, 2), Instant::now());
        assert!((0..10).all(|key| rates.take_at(key, start)));
        assert_eq!(rates.buckets().of.len(), 2);
        assert!(rates.take_at(10, start + SECOND));
        assert_eq!(rates.buckets().of.len(), 1, "full buckets are forgotten");
    }

    #[test]
    fn sweeps_at_most_once_a_second() {
        let rate = Rate {
            burst: 1,
            interval: SECOND / 10,
        };
        let (rates, start) = (Rates::new(rate, 2), Instant::now());
        assert!((0..10).all(|key| rates.take_at(key, start)));
        let soon = start + SECOND / 2;
        assert!((10..20).all(|key| rates.take_at(key, soon)));
        assert!(rates.buckets().of.contains_key(&0), "looked for again");
        assert!(rates.take_at(20, start + SECOND));
        assert!(!rates.buckets().of.contains_key(&0));
    }

    #[test]
    fn overcharged_keys_stay_empty_until_refilled() {
        let (rates, start) = (Rates::new(RATE, 2), Instant::now());
        assert!(rates.has_one_at(&'a', start));
        rates.charge_at('a', 5, start);
        assert!(!rates.has_one_at(&'a', start + 2 * SECOND));
        assert!(rates.has_one_at(&'a', start + 3 * SECOND));
        assert!(rates.has_one_at(&'b', start));
    }
}
