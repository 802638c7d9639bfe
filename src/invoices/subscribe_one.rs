//! Subscriptions to a single invoice: its current state, then each change until the state is final.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::registry::Registry;
use super::subscribe::InvoiceEvent;
use super::{InvoiceError, InvoiceView};
use crate::storage::invoices::{HtlcSelection, InvoiceRef, InvoiceState};

/// Events that may queue for a slow subscriber.
const EVENT_QUEUE_LEN: usize = 1_024;
/// The number of followed invoices at which subscriptions are first checked for closed receivers.
const FIRST_CLEANUP: usize = 64;

type Sender = mpsc::Sender<Result<InvoiceEvent, TooSlow>>;
type Receiver = mpsc::Receiver<Result<InvoiceEvent, TooSlow>>;

impl Registry {
    /// Subscribes to an invoice: its current state, then every change. `by` may be any reference
    /// that [`Registry::lookup`] accepts.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`], or if the database cannot be read.
    pub fn subscribe_one(&self, by: &InvoiceRef) -> Result<SingleSubscription, InvoiceError> {
        let found = self.store.invoice_by(by)?;
        let add_index = found.ok_or(InvoiceError::NotFound)?.add_index;
        // Subscribe first, then read the state, so that no event is lost; `Seen` drops duplicates.
        let live = self.followers().follow(add_index);
        let view = self.lookup(by, HtlcSelection::All)?;
        Ok(SingleSubscription {
            seen: Seen::of(&view),
            first: Some(view),
            live,
        })
    }
}

/// The subscriber was too slow. It can subscribe again.
#[derive(Debug, thiserror::Error)]
#[error("subscriber too slow, invoice updates were lost; subscribe again to get the current state")]
pub struct TooSlow;

/// Subscribers by invoice. An event costs nothing for subscribers of other invoices.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<ByInvoice>);

#[derive(Debug, Default)]
struct ByInvoice {
    by_add_index: HashMap<u64, Vec<Sender>>,
    clean_at: usize,
}

impl Followers {
    fn follow(&self, add_index: u64) -> Receiver {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE_LEN);
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followed.clean();
        followed
            .by_add_index
            .entry(add_index)
            .or_default()
            .push(sender);
        receiver
    }

    /// Sends an event to the subscribers of its invoice.
    pub(super) fn notify(&self, event: &InvoiceEvent) {
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let add_index = event.view().record.add_index;
        let Some(senders) = followed.by_add_index.get_mut(&add_index) else {
            return;
        };
        senders.retain(|sender| notify(sender, event));
        if senders.is_empty() {
            followed.by_add_index.remove(&add_index);
        }
    }
}

/// Sends an event. Returns whether the subscriber remains subscribed. The last slot of the queue is
/// reserved for [`TooSlow`]; there is only one sender, so the slot is still free when needed.
fn notify(sender: &Sender, event: &InvoiceEvent) -> bool {
    if sender.capacity() > 1 {
        return sender.try_send(Ok(event.clone())).is_ok();
    }
    // The receiver may have been dropped in the meantime.
    let _ = sender.try_send(Err(TooSlow));
    false
}

impl ByInvoice {
    /// Removes closed subscriptions each time the number of invoices has doubled.
    fn clean(&mut self) {
        if self.by_add_index.len() < self.clean_at.max(FIRST_CLEANUP) {
            return;
        }
        self.by_add_index.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        self.clean_at = self.by_add_index.len() * 2;
    }
}

/// The part of an invoice's history that the subscriber has seen.
#[derive(Debug)]
struct Seen {
    /// 0: no settlement.
    settle_index: u64,
    accepted: bool,
    /// No more events will follow.
    end: bool,
}

impl Seen {
    fn of(view: &InvoiceView) -> Self {
        let state = view.record.state;
        Self {
            settle_index: last_settle_index(view),
            accepted: state == InvoiceState::Accepted,
            end: matches!(state, InvoiceState::Settled | InvoiceState::Canceled),
        }
    }

    /// Returns whether the event is new, and marks it as seen. An event from before the state was
    /// read may be announced after it.
    fn is_news(&mut self, event: &InvoiceEvent) -> bool {
        match event {
            InvoiceEvent::Added(_) => false,
            InvoiceEvent::Accepted(_) => !std::mem::replace(&mut self.accepted, true),
            InvoiceEvent::Settled(view) => {
                // An AMP invoice can be paid again.
                self.end = !view.record.kind.is_amp();
                let index = last_settle_index(view);
                let is_news = index > self.settle_index;
                self.settle_index = self.settle_index.max(index);
                is_news
            }
            InvoiceEvent::Canceled(_) => {
                self.end = true;
                true
            }
        }
    }
}

fn last_settle_index(view: &InvoiceView) -> u64 {
    let of_sets = view.sets.iter().filter_map(|set| set.settle_index).max();
    of_sets.or(view.record.settle_index).unwrap_or_default()
}

/// A subscription to a single invoice.
#[derive(Debug)]
pub struct SingleSubscription {
    first: Option<InvoiceView>,
    seen: Seen,
    live: Receiver,
}

impl SingleSubscription {
    /// Returns first the invoice with all its payments, then the invoice after each change (for AMP
    /// with the set that was settled). Returns `None` once the state is final (canceled, or settled
    /// if it can be paid only once), and when the node shuts down.
    ///
    /// # Errors
    /// [`TooSlow`]; the subscription ends after it.
    pub async fn next(&mut self) -> Result<Option<InvoiceView>, TooSlow> {
        if let Some(view) = self.first.take() {
            return Ok(Some(view));
        }
        while !self.seen.end {
            let Some(event) = self.live.recv().await.transpose()? else {
                return Ok(None);
            };
            if self.seen.is_news(&event) {
                return Ok(Some(event.into_view()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
