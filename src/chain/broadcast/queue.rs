//! The queue of submissions and their retry order.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use bitcoin::Txid;

use super::submission::{Priority, Submission};

/// Maximum number of failed submissions kept for a retry. Submissions that were never tried are not counted
/// and never dropped, because they belong to our own channels and payments.
const MAX_FAILED: usize = 2_000;
/// Time after which a rejected submission is dropped if it is not submitted again. LDK resubmits its claims
/// with every block and every 30 seconds, the node the wallet's transactions and cooperative closes every
/// minute.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Pause before the second attempt, doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Maximum pause of urgent submissions that are not known to have missing inputs.
const MAX_URGENT_PAUSE: Duration = Duration::from_secs(10);
/// Maximum pause of other submissions.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Maximum pause of idle submissions.
const MAX_IDLE_PAUSE: Duration = Duration::from_secs(600);

/// Why a submission is not in bitcoind's mempool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// bitcoind did not evaluate it.
    Unjudged,
    /// bitcoind does not know the outputs that it spends. A version with another fee would fail as well.
    MissingInputs,
    /// bitcoind rejected it for another reason.
    Refused,
}

/// The outcome of a failed submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// It waits for the next attempt, after `tries` attempts.
    Kept { tries: u32 },
    /// It was removed from the queue.
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Sending,
    Failed { why: Failure, due: Instant },
}

#[derive(Debug)]
struct Entry {
    submission: Submission,
    tries: u32,
    state: State,
    /// When it was last submitted.
    asked: Instant,
}

impl Entry {
    /// The order of entries: those without missing inputs first, then by priority, new ones first.
    fn rank(&self) -> (bool, Priority, bool, Option<Instant>) {
        let due = self.due();
        let is_missing = self.failure() == Some(Failure::MissingInputs);
        (is_missing, self.submission.priority(), due.is_some(), due)
    }

    fn failure(&self) -> Option<Failure> {
        match self.state {
            State::Failed { why, .. } => Some(why),
            State::New | State::Sending => None,
        }
    }

    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Failed { due, .. } => Some(due),
            State::New | State::Sending => None,
        }
    }

    fn can_be_tried(&self, now: Instant) -> bool {
        match self.state {
            State::New => true,
            State::Sending => false,
            State::Failed { due, .. } => due <= now,
        }
    }
}

/// One entry per transaction or package, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: Vec<Entry>,
}

impl Queue {
    /// Adds a submission, replacing an older version of it. Returns false if a queued submission covers it.
    pub(super) fn add(&mut self, submission: Submission, now: Instant) -> bool {
        if submission.is_empty() {
            return false;
        }
        let covering = self
            .entries
            .iter_mut()
            .find(|entry| submission.is_covered_by(&entry.submission));
        if let Some(older) = covering {
            older.asked = now;
            if !submission.is_repeated() {
                older.submission.raise_priority(submission.priority());
            }
            return false;
        }
        let replaced = |entry: &Entry| submission.replaces(&entry.submission);
        let known = self.entries.iter().find(|entry| replaced(entry));
        // A new version with the same missing inputs keeps the pause of the old one.
        let known = known.filter(|entry| {
            let is_missing = entry.failure() == Some(Failure::MissingInputs);
            is_missing && submission.spends_the_same(&entry.submission)
        });
        let (state, tries) = known.map_or((State::New, 0), |entry| (entry.state, entry.tries));
        self.entries.retain(|entry| !replaced(entry));
        self.entries.push(Entry {
            submission,
            tries,
            state,
            asked: now,
        });
        true
    }

    /// Returns the next submission to send and marks it as being sent. A submission that spends outputs of
    /// one being sent waits for it.
    pub(super) fn next(&mut self, now: Instant) -> Option<Submission> {
        let sending = self.sending();
        let ready = self
            .entries
            .iter_mut()
            .filter(|entry| entry.can_be_tried(now) && !entry.submission.spends_any(&sending));
        let next = ready.min_by_key(|entry| entry.rank())?;
        next.state = State::Sending;
        Some(next.submission.clone())
    }

    /// The time of the next retry, unless a new submission arrives.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.iter().filter_map(Entry::due).min()
    }

    /// Removes a submission that bitcoind has accepted.
    pub(super) fn sent(&mut self, submission: &Submission) {
        if let Some(at) = self.position(submission) {
            self.entries.remove(at);
        }
    }

    /// Marks a submission as new because it was not sent.
    pub(super) fn unsent(&mut self, submission: &Submission) {
        if let Some(at) = self.position(submission) {
            self.entries[at].state = State::New;
        }
    }

    /// Marks all submissions being sent as new.
    pub(super) fn all_unsent(&mut self) {
        for entry in &mut self.entries {
            if entry.state == State::Sending {
                entry.state = State::New;
            }
        }
    }

    /// Schedules the retry of a failed submission, or drops it.
    pub(super) fn failed(&mut self, submission: &Submission, why: Failure, now: Instant) -> Failed {
        // Replaced by a newer version in the meantime.
        let Some(at) = self.position(submission) else {
            return Failed::Dropped;
        };
        let entry = &mut self.entries[at];
        let is_forgotten = now.saturating_duration_since(entry.asked) >= MAX_AGE;
        if submission.is_repeated() || (why != Failure::Unjudged && is_forgotten) {
            self.entries.remove(at);
            return Failed::Dropped;
        }
        entry.tries = entry.tries.saturating_add(1);
        let tries = entry.tries;
        let due = now + pause_after(tries, why, entry.submission.priority());
        entry.state = State::Failed { why, due };
        self.limit_failed();
        Failed::Kept { tries }
    }

    /// Drops the failed entry with the lowest rank if there are too many.
    fn limit_failed(&mut self) {
        let failed = |entry: &Entry| entry.failure().is_some();
        if self.entries.iter().filter(|entry| failed(entry)).count() <= MAX_FAILED {
            return;
        }
        let last = (0..self.entries.len())
            .filter(|at| failed(&self.entries[*at]))
            .min_by_key(|at| {
                let entry = &self.entries[*at];
                let (is_missing, priority, ..) = entry.rank();
                Reverse((is_missing, priority, entry.tries))
            });
        if let Some(at) = last {
            let dropped = self.entries.remove(at);
            let txids = dropped.submission.txids();
            tracing::error!(
                ?txids,
                "too many failed transactions: giving up on one of them"
            );
        }
    }

    fn sending(&self) -> Vec<Txid> {
        let sending = self.entries.iter();
        let sending = sending.filter(|entry| entry.state == State::Sending);
        sending
            .flat_map(|entry| entry.submission.txids().to_vec())
            .collect()
    }

    /// Finds the entry of a submission. A transaction may be queued both as a repeated submission, which is
    /// tried once, and as a new one.
    fn position(&self, submission: &Submission) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.submission.is_repeated() == submission.is_repeated()
                && entry.submission.txids() == submission.txids()
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn pause_after(tries: u32, why: Failure, priority: Priority) -> Duration {
    let longest = match (priority, why) {
        (Priority::Urgent, Failure::Unjudged | Failure::Refused) => MAX_URGENT_PAUSE,
        (Priority::Urgent | Priority::Normal, _) => MAX_PAUSE,
        (Priority::Idle, _) => MAX_IDLE_PAUSE,
    };
    let doublings = tries.saturating_sub(1).min(10);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(longest)
}

#[cfg(test)]
mod tests;
