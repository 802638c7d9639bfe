//! Invoice subscriptions.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use super::InvoiceView;
use super::missed::Missed;
use super::subscribe_one::Followers;
use crate::storage::{StorageError, Store, Ticket};

/// Events kept in memory for a slow subscriber. One that falls further behind gets them from the
/// database.
const EVENT_QUEUE_LEN: usize = 4_096;

/// An event of an invoice.
#[derive(Debug, Clone)]
pub enum InvoiceEvent {
    Added(InvoiceView),
    /// The invoice, or one set of an AMP invoice, was settled; the view of the latter has only that
    /// set.
    Settled(InvoiceView),
    /// A hold invoice was paid and awaits the client's decision. Only subscribers of this single
    /// invoice get it, as in lnd.
    Accepted(InvoiceView),
    /// The invoice can no longer be paid. Only subscribers of this single invoice get it.
    Canceled(InvoiceView),
}

impl InvoiceEvent {
    /// The invoice as sent to subscribers.
    pub fn view(&self) -> &InvoiceView {
        match self {
            Self::Added(view)
            | Self::Settled(view)
            | Self::Accepted(view)
            | Self::Canceled(view) => view,
        }
    }

    /// Converts the event into its view.
    pub fn into_view(self) -> InvoiceView {
        match self {
            Self::Added(view)
            | Self::Settled(view)
            | Self::Accepted(view)
            | Self::Canceled(view) => view,
        }
    }
}

/// The last add index and the last settle index that a subscriber has seen.
///
/// Both increase in the order of commits and of events, so later ones are always higher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) added: u64,
    pub(super) settled: u64,
}

impl Seen {
    /// The last indices on disk.
    fn now(store: &Store) -> Result<Self, StorageError> {
        let (added, settled) = store.invoice_indices()?;
        Ok(Self { added, settled })
    }

    /// Returns whether nothing is left up to `other`.
    pub(super) fn has_reached(self, other: Self) -> bool {
        self.added >= other.added && self.settled >= other.settled
    }

    fn max(self, other: Self) -> Self {
        Self {
            added: self.added.max(other.added),
            settled: self.settled.max(other.settled),
        }
    }

    /// Returns whether the event is new to a subscriber of all invoices, and marks it as seen.
    fn is_news(&mut self, event: &InvoiceEvent) -> bool {
        let (last, index) = match event {
            InvoiceEvent::Added(view) => (&mut self.added, view.record.add_index),
            InvoiceEvent::Settled(view) => {
                let of_set = view.sets.first().and_then(|set| set.settle_index);
                let index = of_set.or(view.record.settle_index).unwrap_or_default();
                (&mut self.settled, index)
            }
            InvoiceEvent::Accepted(_) | InvoiceEvent::Canceled(_) => return false,
        };
        let is_news = index > *last;
        *last = index.max(*last);
        is_news
    }
}

/// Sends events to all subscribers, in order, each once its rows are on disk.
#[derive(Debug)]
pub(super) struct Announcer {
    queue: mpsc::UnboundedSender<(Ticket, InvoiceEvent)>,
    subscribers: broadcast::Sender<InvoiceEvent>,
    pub(super) followers: Arc<Followers>,
}

impl Announcer {
    /// The queue is unbounded; it grows while the disk is slow. Each entry is a received payment,
    /// or an invoice whose client waits for the response.
    pub(super) fn start(store: Arc<Store>) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let subscribers = broadcast::Sender::new(EVENT_QUEUE_LEN);
        let followers = Arc::<Followers>::default();
        tokio::spawn(announce(
            store,
            waiting,
            subscribers.clone(),
            followers.clone(),
        ));
        Self {
            queue,
            subscribers,
            followers,
        }
    }

    pub(super) fn announce(&self, ticket: Ticket, event: InvoiceEvent) {
        // The receiving task lives as long as this.
        let _ = self.queue.send((ticket, event));
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<InvoiceEvent> {
        self.subscribers.subscribe()
    }
}

async fn announce(
    store: Arc<Store>,
    mut waiting: mpsc::UnboundedReceiver<(Ticket, InvoiceEvent)>,
    subscribers: broadcast::Sender<InvoiceEvent>,
    followers: Arc<Followers>,
) {
    while let Some((ticket, mut event)) = waiting.recv().await {
        store.durable(ticket).await;
        if let InvoiceEvent::Settled(view) | InvoiceEvent::Canceled(view) = &mut event {
            add_up(&store, view);
        }
        followers.notify(&event);
        if matches!(event, InvoiceEvent::Added(_) | InvoiceEvent::Settled(_)) {
            // Having no subscribers is not an error.
            let _ = subscribers.send(event);
        }
    }
}

/// Sets the amount to the total of all sets of an AMP invoice up to the one in the view, which only
/// the database knows.
fn add_up(store: &Store, view: &mut InvoiceView) {
    if !view.record.kind.is_amp() {
        return;
    }
    let last = view.sets.first().and_then(|set| set.settle_index);
    let settle_index = last.unwrap_or(u64::MAX);
    match store.invoice_at(view.record.add_index, settle_index) {
        Ok(Some(record)) => view.record = record,
        Ok(None) => {}
        Err(error) => tracing::error!(
            "cannot read an AMP invoice's total; subscribers get a wrong amount: {error}"
        ),
    }
}

/// A stream of missed events, followed by live ones.
pub struct Subscription {
    store: Arc<Store>,
    missed: Missed,
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
            missed: Missed::new(store.clone(), from, now),
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
                self.missed = Missed::new(self.store.clone(), self.seen, now);
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
