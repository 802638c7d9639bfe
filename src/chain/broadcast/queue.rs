//! Which submission is tried next.

use std::time::{Duration, Instant};

use super::submission::Submission;

/// Submissions that failed and are kept for another try. Those that were never tried are not
/// counted and never dropped: they are our own channels' and payments'.
const MAX_FAILED: usize = 2_000;
/// How often a submission that bitcoind refuses is tried. LDK brings its claims again with every block
/// and every 30 seconds, the node the wallet's transactions and agreed closes every minute.
const MAX_REFUSALS: u32 = 6;
/// Before the second try; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What became of a submission that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// It waits for its next try. This was try number `tries`.
    Kept {
        tries: u32,
    },
    Dropped,
}

#[derive(Debug)]
struct Entry {
    submission: Submission,
    tries: u32,
    refusals: u32,
    /// The next try; none if it was never tried.
    due: Option<Instant>,
}

/// New submissions in the order in which they came, then those that failed, each when it is due.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: Vec<Entry>,
}

impl Queue {
    /// False if one that waits makes it needless. An older version of the same is replaced.
    pub(super) fn add(&mut self, submission: Submission) -> bool {
        let mut waiting = self.entries.iter().map(|entry| &entry.submission);
        if submission.is_empty() || waiting.any(|older| submission.is_covered_by(older)) {
            return false;
        }
        self.entries
            .retain(|entry| !submission.replaces(&entry.submission));
        self.entries.push(Entry {
            submission,
            tries: 0,
            refusals: 0,
            due: None,
        });
        true
    }

    /// The one to try now.
    pub(super) fn next(&self, now: Instant) -> Option<Submission> {
        let mut entries = self.entries.iter();
        let new = entries.find(|entry| entry.due.is_none());
        let next = new.or_else(|| self.earliest().filter(|entry| entry.due <= Some(now)));
        next.map(|entry| entry.submission.clone())
    }

    /// When the next try is due, if nothing new comes.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.earliest().and_then(|entry| entry.due)
    }

    /// bitcoind has it.
    pub(super) fn sent(&mut self, submission: &Submission) {
        if let Some(at) = self.position(submission) {
            self.entries.remove(at);
        }
    }

    /// It failed; `refused` if bitcoind has judged it.
    pub(super) fn failed(
        &mut self,
        submission: &Submission,
        refused: bool,
        now: Instant,
    ) -> Failed {
        // A newer version came meanwhile.
        let Some(at) = self.position(submission) else {
            return Failed::Dropped;
        };
        let entry = &mut self.entries[at];
        entry.tries = entry.tries.saturating_add(1);
        entry.refusals += u32::from(refused);
        if submission.is_repeated() || entry.refusals >= MAX_REFUSALS {
            self.entries.remove(at);
            return Failed::Dropped;
        }
        let tries = entry.tries;
        entry.due = Some(now + pause_after(tries));
        self.limit_failed();
        Failed::Kept { tries }
    }

    /// Of those that failed the one with the most tries goes.
    fn limit_failed(&mut self) {
        let failed = self.entries.iter().filter(|entry| entry.due.is_some());
        if failed.count() <= MAX_FAILED {
            return;
        }
        let most_tried = (0..self.entries.len()).max_by_key(|at| self.entries[*at].tries);
        if let Some(at) = most_tried {
            let dropped = self.entries.remove(at);
            let txids = dropped.submission.txids();
            tracing::error!(?txids, "too many transactions fail, one is given up");
        }
    }

    fn earliest(&self) -> Option<&Entry> {
        let failed = self.entries.iter().filter(|entry| entry.due.is_some());
        failed.min_by_key(|entry| entry.due)
    }

    fn position(&self, submission: &Submission) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.submission.txids() == submission.txids())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn pause_after(tries: u32) -> Duration {
    let doublings = tries.saturating_sub(1).min(10);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::broadcast::test_data::transaction;

    fn single(sat: u64) -> Submission {
        let coin = transaction(&[], sat);
        Submission::new(vec![transaction(&[&coin], sat)])
    }

    fn next_txids(queue: &Queue, now: Instant) -> Option<Vec<bitcoin::Txid>> {
        queue.next(now).map(|next| next.txids().to_vec())
    }

    #[test]
    fn what_failed_waits_behind_what_is_new_and_longer_each_time() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let (bad, good) = (single(1), single(2));
        queue.add(bad.clone());
        queue.add(good.clone());
        assert_eq!(queue.failed(&bad, true, now), Failed::Kept { tries: 1 });
        assert_eq!(next_txids(&queue, now), Some(good.txids().to_vec()));
        queue.sent(&good);
        assert_eq!(next_txids(&queue, now), None);
        let due = queue.next_due().unwrap();
        assert_eq!(due, now + FIRST_PAUSE);
        assert_eq!(next_txids(&queue, due), Some(bad.txids().to_vec()));
        queue.failed(&bad, true, due);
        assert_eq!(queue.next_due(), Some(due + 2 * FIRST_PAUSE));
    }

    #[test]
    fn a_refused_submission_is_given_up_and_one_that_was_not_judged_is_not() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let (refused, unjudged) = (single(1), single(2));
        queue.add(refused.clone());
        queue.add(unjudged.clone());
        let last = (0..MAX_REFUSALS).map(|_| queue.failed(&refused, true, now));
        assert_eq!(last.last(), Some(Failed::Dropped));
        for _ in 0..100 {
            let kept = queue.failed(&unjudged, false, now);
            assert!(matches!(kept, Failed::Kept { .. }));
        }
        assert_eq!(queue.next_due(), Some(now + LONGEST_PAUSE));
    }

    #[test]
    fn nothing_that_was_never_tried_is_dropped() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let most = MAX_FAILED as u64;
        for sat in 0..=2 * most {
            queue.add(single(sat));
        }
        assert_eq!(queue.len(), 2 * MAX_FAILED + 1);
        for sat in 0..=most {
            queue.failed(&single(sat), false, now);
        }
        assert_eq!(queue.len(), 2 * MAX_FAILED, "one that failed is gone");
        let next = next_txids(&queue, now);
        assert_eq!(next, Some(single(most + 1).txids().to_vec()));
    }

    #[test]
    fn a_newer_version_takes_the_place_of_the_one_that_waits() {
        let mut queue = Queue::default();
        let coin = transaction(&[], 1);
        let version = |sat| Submission::new(vec![transaction(&[&coin], sat)]);
        assert!(queue.add(version(2)));
        assert!(!queue.add(version(2)), "the same is merged");
        assert!(queue.add(version(3)));
        assert_eq!(queue.len(), 1);
        let now = Instant::now();
        assert_eq!(next_txids(&queue, now), Some(version(3).txids().to_vec()));
        // The older one was on its way meanwhile.
        queue.sent(&version(2));
        assert_eq!(queue.failed(&version(2), true, now), Failed::Dropped);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn what_is_repeated_is_tried_once() {
        let mut queue = Queue::default();
        let repeated = Submission::repeated(transaction(&[], 1));
        queue.add(repeated.clone());
        let failed = queue.failed(&repeated, false, Instant::now());
        assert_eq!((failed, queue.len()), (Failed::Dropped, 0));
    }
}
