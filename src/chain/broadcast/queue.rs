//! Which submission is tried next.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use bitcoin::Txid;

use super::submission::{Priority, Submission};

/// Submissions that failed and are kept for another try. Those that were never tried are not
/// counted and never dropped: they are our own channels' and payments'.
const MAX_FAILED: usize = 2_000;
/// What bitcoind refuses is tried again as long as it is asked for. LDK asks for its claims with every
/// block and every 30 seconds, the node for the wallet's transactions and agreed closes every minute.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Before the second try; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// For what has our money in it and whose inputs bitcoind knows, as far as it has said.
const LONGEST_URGENT_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// For what brings us nothing.
const LONGEST_IDLE_PAUSE: Duration = Duration::from_secs(600);

/// Why a submission is not in bitcoind's mempool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// bitcoind did not judge it.
    Unjudged,
    /// bitcoind does not know the outputs that it spends. Another version of it will not fare better.
    MissingInputs,
    /// bitcoind has another reason.
    Refused,
}

/// What became of a submission that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// It waits for its next try. This was try number `tries`.
    Kept {
        tries: u32,
    },
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
    /// When somebody asked for it last.
    asked: Instant,
}

impl Entry {
    /// The order of those that can be tried: without missing inputs, by priority, new ones first.
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

/// One entry for each transaction or package, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: Vec<Entry>,
}

impl Queue {
    /// False if one that waits makes it needless. An older version of the same is replaced.
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
        // A new version that spends the same has to wait as long.
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

    /// The one to try now; it counts as being sent from now on. What spends the outputs of another one
    /// that is being sent waits for that.
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

    /// When the next try is due, if nothing new comes.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.iter().filter_map(Entry::due).min()
    }

    /// bitcoind has it.
    pub(super) fn sent(&mut self, submission: &Submission) {
        if let Some(at) = self.position(submission) {
            self.entries.remove(at);
        }
    }

    /// It was not sent at all.
    pub(super) fn unsent(&mut self, submission: &Submission) {
        if let Some(at) = self.position(submission) {
            self.entries[at].state = State::New;
        }
    }

    /// Nothing is being sent any more.
    pub(super) fn all_unsent(&mut self) {
        for entry in &mut self.entries {
            if entry.state == State::Sending {
                entry.state = State::New;
            }
        }
    }

    pub(super) fn failed(&mut self, submission: &Submission, why: Failure, now: Instant) -> Failed {
        // A newer version came meanwhile.
        let Some(at) = self.position(submission) else {
            return Failed::Dropped;
        };
        let entry = &mut self.entries[at];
        let is_forgotten = now.saturating_duration_since(entry.asked) >= FORGOTTEN;
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

    /// Of those that failed the last one in order goes.
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
            tracing::error!(?txids, "too many transactions fail, one is given up");
        }
    }

    fn sending(&self) -> Vec<Txid> {
        let sending = self.entries.iter();
        let sending = sending.filter(|entry| entry.state == State::Sending);
        sending
            .flat_map(|entry| entry.submission.txids().to_vec())
            .collect()
    }

    /// While a transaction that is tried once is being sent, it may come again as one that is tried as often
    /// as it takes: that is another entry.
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
        (Priority::Urgent, Failure::Unjudged | Failure::Refused) => LONGEST_URGENT_PAUSE,
        (Priority::Urgent | Priority::Normal, _) => LONGEST_PAUSE,
        (Priority::Idle, _) => LONGEST_IDLE_PAUSE,
    };
    let doublings = tries.saturating_sub(1).min(10);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(longest)
}

#[cfg(test)]
mod tests;
