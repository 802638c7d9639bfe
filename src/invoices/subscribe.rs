//! Telling others about invoices: made, and settled.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use super::InvoiceView;
use super::missed::Missed;
use super::subscribe_one::Followers;
use crate::storage::{StorageError, Store, Ticket};

/// As many events wait in memory for a slow subscriber; one that falls further behind gets them from
/// the database.
const BACKLOG: usize = 4_096;

/// What happened to an invoice.
#[derive(Debug, Clone)]
pub enum InvoiceEvent {
    Added(InvoiceView),
    /// The whole invoice, or with AMP one set of it: then the view has only that set.
    Settled(InvoiceView),
    /// A hold invoice is paid and waits for its maker's decision. Only who follows this one invoice
    /// hears of it, as in lnd.
    Accepted(InvoiceView),
    /// It cannot be paid any more. Only who follows this one invoice hears of it.
    Canceled(InvoiceView),
}

impl InvoiceEvent {
    /// The view that goes to subscribers.
    pub fn view(&self) -> &InvoiceView {
        match self {
            Self::Added(view)
            | Self::Settled(view)
            | Self::Accepted(view)
            | Self::Canceled(view) => view,
        }
    }

    /// The same, to keep.
    pub fn into_view(self) -> InvoiceView {
        match self {
            Self::Added(view)
            | Self::Settled(view)
            | Self::Accepted(view)
            | Self::Canceled(view) => view,
        }
    }
}

/// How far a subscriber has been told: the last add index and the last settle index.
///
/// Both count in the order of commits and of events, so all that comes later is higher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) added: u64,
    pub(super) settled: u64,
}

impl Told {
    /// All that is on disk.
    fn now(store: &Store) -> Result<Self, StorageError> {
        let (added, settled) = store.invoice_indices()?;
        Ok(Self { added, settled })
    }

    /// Whether nothing is left to tell up to there.
    pub(super) fn has_reached(self, other: Self) -> bool {
        self.added >= other.added && self.settled >= other.settled
    }

    fn max(self, other: Self) -> Self {
        Self {
            added: self.added.max(other.added),
            settled: self.settled.max(other.settled),
        }
    }

    /// Whether the event is news to those who follow all invoices; it is told from now on.
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

/// Sends events to all subscribers, in order, each when its rows are on disk.
#[derive(Debug)]
pub(super) struct Announcer {
    queue: mpsc::UnboundedSender<(Ticket, InvoiceEvent)>,
    subscribers: broadcast::Sender<InvoiceEvent>,
    pub(super) followers: Arc<Followers>,
}

impl Announcer {
    /// The queue is as long as the disk is slow: each event in it is a payment that we received, or
    /// an invoice that its maker still waits for.
    pub(super) fn start(store: Arc<Store>) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let subscribers = broadcast::Sender::new(BACKLOG);
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
        // The other end lives as long as this one.
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
        followers.tell(&event);
        if matches!(event, InvoiceEvent::Added(_) | InvoiceEvent::Settled(_)) {
            // Nobody listening is fine.
            let _ = subscribers.send(event);
        }
    }
}

/// What all sets of an AMP invoice have paid together, the one in the view the last: only the
/// database knows.
fn add_up(store: &Store, view: &mut InvoiceView) {
    if !view.record.kind.is_amp() {
        return;
    }
    let last = view.sets.first().and_then(|set| set.settle_index);
    let settle_index = last.unwrap_or(u64::MAX);
    match store.invoice_at(view.record.add_index, settle_index) {
        Ok(Some(record)) => view.record = record,
        Ok(None) => {}
        Err(error) => tracing::error!("subscribers are told a wrong sum of payments: {error}"),
    }
}

/// What was missed, then what happens from now on.
pub struct Subscription {
    store: Arc<Store>,
    missed: Missed,
    /// What the subscriber knows once `missed` is told. A live event may be part of it: it is announced a
    /// moment after its rows can be read.
    told: Told,
    live: broadcast::Receiver<InvoiceEvent>,
    /// It was slow: what it missed of the live events is in the database.
    lagged: bool,
}

impl Subscription {
    /// Goes on after these indices; 0: with what comes from now on.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) fn new(
        store: Arc<Store>,
        live: broadcast::Receiver<InvoiceEvent>,
        add_index: u64,
        settle_index: u64,
    ) -> Result<Self, StorageError> {
        let now = Told::now(&store)?;
        let after = |index, now| if index == 0 { now } else { index };
        let from = Told {
            added: after(add_index, now.added),
            settled: after(settle_index, now.settled),
        };
        Ok(Self {
            missed: Missed::new(store.clone(), from, now),
            store,
            told: from.max(now),
            live,
            lagged: false,
        })
    }

    /// The next event; `None` when the node stops.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn next(&mut self) -> Result<Option<InvoiceEvent>, StorageError> {
        loop {
            if self.lagged {
                let now = Told::now(&self.store)?;
                self.missed = Missed::new(self.store.clone(), self.told, now);
                self.told = self.told.max(now);
                self.lagged = false;
            }
            if let Some(event) = self.missed.next().await? {
                return Ok(Some(event));
            }
            match self.live.recv().await {
                Ok(event) if self.told.is_news(&event) => return Ok(Some(event)),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => self.lagged = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests;
