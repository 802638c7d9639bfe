//! Subscriptions to all invoices.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::event::InvoiceEvent;
use super::missed_events::MissedEvents;
use super::registry::Registry;
use super::seen::Seen;
use crate::storage::{StorageError, Store};

impl Registry {
    /// Subscribes to events from now on, after those missed since the given indices (0: skip the
    /// past).
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn subscribe(
        &self,
        add_index: u64,
        settle_index: u64,
    ) -> Result<Subscription, StorageError> {
        // Subscribe first, so that no event is lost; `Subscription` drops duplicates.
        let live = self.announcer.subscribe();
        Subscription::new(self.store.clone(), live, add_index, settle_index)
    }
}

/// A stream of missed events, followed by live ones.
pub struct Subscription {
    store: Arc<Store>,
    missed: MissedEvents,
    /// The indices seen once `missed` is exhausted. It may include live events: these are announced
    /// shortly after their rows become readable.
    seen: Seen,
    live: broadcast::Receiver<InvoiceEvent>,
    /// The subscriber was too slow: the live events that it missed are read from the database.
    lagged: bool,
}

impl Subscription {
    /// Starts after these indices; 0 means live events only.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) fn new(
        store: Arc<Store>,
        live: broadcast::Receiver<InvoiceEvent>,
        add_index: u64,
        settle_index: u64,
    ) -> Result<Self, StorageError> {
        let now = Seen::now(&store)?;
        let after = |index, now| if index == 0 { now } else { index };
        let from = Seen {
            added: after(add_index, now.added),
            settled: after(settle_index, now.settled),
        };
        Ok(Self {
            missed: MissedEvents::new(store.clone(), from, now),
            store,
            seen: from.max(now),
            live,
            lagged: false,
        })
    }

    /// Returns the next event; `None` when the node shuts down.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn next(&mut self) -> Result<Option<InvoiceEvent>, StorageError> {
        loop {
            if self.lagged {
                let now = Seen::now(&self.store)?;
                self.missed = MissedEvents::new(self.store.clone(), self.seen, now);
                self.seen = self.seen.max(now);
                self.lagged = false;
            }
            if let Some(event) = self.missed.next().await? {
                return Ok(Some(event));
            }
            match self.live.recv().await {
                Ok(event) if self.seen.is_news(&event) => return Ok(Some(event)),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => self.lagged = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests;
