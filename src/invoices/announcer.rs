//! Notifies subscribers of all invoices and of single ones, in the order of commits.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use super::InvoiceView;
use super::event::InvoiceEvent;
use super::followers::Followers;
use crate::storage::{Store, Ticket};

/// Events kept in memory for a slow subscriber. One that falls further behind gets them from the
/// database.
pub(super) const EVENT_QUEUE_LEN: usize = 4_096;

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
