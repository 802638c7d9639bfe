//! The contents of one commit.

use crash_points::panics;

use super::{Barrier, Ticket};
use crate::storage::Change;
use crate::storage::kv_write::KvWrite;
use crate::storage::manager_log::ManagerWrite;
use crate::storage::monitor_write::MonitorWrite;

/// The contents of one commit.
pub(super) struct Batch {
    pub(super) monitors: Vec<MonitorWrite>,
    pub(super) manager: Option<ManagerWrite>,
    pub(super) values: Vec<KvWrite>,
    pub(super) rows: Vec<Box<dyn Change>>,
    pub(super) ticket: Ticket,
    /// The last barrier that was requested before the batch was filled.
    pub(super) barrier: Barrier,
}

impl Batch {
    /// Lets tests make the writer panic here.
    pub(super) fn may_panic(&self) {
        if !self.monitors.is_empty() {
            panics::at(panics::Place::Writer);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.monitors.is_empty()
            && self.manager.is_none()
            && self.values.is_empty()
            && self.rows.is_empty()
    }

    /// Returns all changes in the order in which they are applied.
    pub(super) fn changes(&self) -> impl Iterator<Item = &dyn Change> + Clone {
        let monitors = self.monitors.iter().map(|write| write as &dyn Change);
        let manager = self.manager.iter().map(|write| write as &dyn Change);
        monitors
            .chain(manager)
            .chain(self.values.iter().map(|write| write as &dyn Change))
            .chain(self.rows.iter().map(|row| row.as_ref() as &dyn Change))
    }
}
