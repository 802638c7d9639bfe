//! The changes that wait for a batch, and when the batch is due.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Ticket;
use super::batch::Batch;
use crate::storage::Change;
use crate::storage::kv_write::{KvWrite, Name};
use crate::storage::monitor_write::MonitorWrite;

/// Maximum time that a change which nothing waits for is held back to share a commit: a manager that
/// changed without a monitor update, a value of LDK's, a row that a monitor update is about to
/// follow. This saves half of all commits; no guarantee depends on it.
pub(super) const MAX_COMMIT_DELAY: Duration = Duration::from_millis(50);

/// Like [`MAX_COMMIT_DELAY`], for a change that a client waits for, but that a monitor update usually
/// follows at once.
const SHORT_COMMIT_DELAY: Duration = Duration::from_millis(1);

/// Under load, the shortest time from one snapshot of the manager to the next, in encoding times of the
/// manager. LDK encodes it under the locks of all channels, so the time between is what remains for payments;
/// with a thousand channels an encoding takes 7 ms.
const SNAPSHOT_PACE: u32 = 2;

/// The node is under load if a commit completes at least this many monitor updates. Then the next one waits
/// for [`SNAPSHOT_PACE`], and becomes larger. A single payment never waits.
const UNDER_LOAD: usize = 4;

/// Maximum time that commits wait for the rest of a peer's input: see [`Pending::holds`].
const MAX_HOLD: Duration = Duration::from_millis(1);

/// The changes that are not yet in a batch.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) monitors: Vec<MonitorWrite>,
    pub(super) rows: Vec<Box<dyn Change>>,
    /// The time at which the first change that must be committed without delay was queued.
    pub(super) urgent_since: Option<Instant>,
    /// The time at which the first change was queued that may wait for [`SHORT_COMMIT_DELAY`].
    pub(super) soon_since: Option<Instant>,
    /// The number of [`CommitHold`](super::CommitHold)s.
    pub(super) holds: usize,
    /// No batch is taken before this time, unless the node stops: see [`SNAPSHOT_PACE`].
    pub(super) not_before: Option<Instant>,
    /// LDK's values by name; a later write of a name replaces an earlier pending one.
    pub(super) values: HashMap<Name, KvWrite>,
    /// Whether the next batch includes the manager.
    pub(super) manager: bool,
    /// The time at which the first change that is not urgent was queued: the manager, a value or a
    /// row.
    pub(super) deferred_since: Option<Instant>,
    pub(super) last_ticket: u64,
    pub(super) last_barrier: u64,
    /// The last barrier that is part of a batch.
    pub(super) taken_barrier: u64,
    pub(super) stopping: bool,
    /// Stop at once and drop all pending changes.
    pub(super) abandoned: bool,
    /// The writer has ended: nothing more will be written.
    pub(super) ended: bool,
}

impl Pending {
    pub(super) fn push(&mut self, change: Box<dyn Change>) -> Ticket {
        self.rows.push(change);
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Adds the last barrier to a batch. Returns false if an earlier batch already contains it.
    pub(super) fn take_barrier(&mut self) -> bool {
        let is_new = self.last_barrier > self.taken_barrier;
        self.taken_barrier = self.last_barrier;
        is_new
    }

    pub(super) fn note_urgent(&mut self) {
        self.urgent_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn note_deferred(&mut self) {
        self.deferred_since.get_or_insert_with(Instant::now);
    }

    /// Returns the time until the next batch is due: zero if it is due now, `None` if nothing is
    /// pending.
    pub(super) fn due_in(&self) -> Option<Duration> {
        if self.stopping {
            return Some(Duration::ZERO);
        }
        let hold = match self.holds {
            0 => Duration::ZERO,
            _ => MAX_HOLD,
        };
        let delays = [
            (self.urgent_since, hold),
            (self.soon_since, SHORT_COMMIT_DELAY),
            (self.deferred_since, MAX_COMMIT_DELAY),
        ];
        let left = delays
            .into_iter()
            .filter_map(|(since, delay)| Some(delay.saturating_sub(since?.elapsed())));
        let pace = self
            .not_before
            .map(|time| time.saturating_duration_since(Instant::now()));
        Some(left.min()?.max(pace.unwrap_or_default()))
    }

    pub(super) fn set_pace(&mut self, batch: &Batch) {
        let manager = batch.manager.as_ref();
        let manager = manager.filter(|_| batch.monitors.len() >= UNDER_LOAD);
        self.not_before = manager.map(|manager| Instant::now() + SNAPSHOT_PACE * manager.encoding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(time: Duration) -> Option<Instant> {
        Instant::now().checked_sub(time)
    }

    #[test]
    fn urgent_change_is_due_at_once_unless_held() {
        let mut pending = Pending::default();
        assert_eq!(pending.due_in(), None);
        pending.note_urgent();
        assert_eq!(pending.due_in(), Some(Duration::ZERO));
        pending.holds = 1;
        assert!(pending.due_in().unwrap() > Duration::ZERO);
        pending.urgent_since = ago(MAX_HOLD);
        assert_eq!(pending.due_in(), Some(Duration::ZERO));
    }

    #[test]
    fn earliest_due_change_decides() {
        let mut pending = Pending {
            deferred_since: Some(Instant::now()),
            ..Pending::default()
        };
        assert!(pending.due_in().unwrap() > SHORT_COMMIT_DELAY);
        pending.soon_since = Some(Instant::now());
        assert!(pending.due_in().unwrap() <= SHORT_COMMIT_DELAY);
        pending.deferred_since = ago(MAX_COMMIT_DELAY);
        assert_eq!(pending.due_in(), Some(Duration::ZERO));
    }

    #[test]
    fn pace_delays_everything_but_the_end() {
        let mut pending = Pending {
            not_before: Some(Instant::now() + Duration::from_secs(60)),
            ..Pending::default()
        };
        assert_eq!(pending.due_in(), None);
        pending.note_urgent();
        assert!(pending.due_in().unwrap() > Duration::from_secs(50));
        pending.stopping = true;
        assert_eq!(pending.due_in(), Some(Duration::ZERO));
    }
}
