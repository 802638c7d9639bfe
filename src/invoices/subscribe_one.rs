//! Following one invoice: how it stands, then each change, until nothing can change any more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::registry::Registry;
use super::subscribe::InvoiceEvent;
use super::{InvoiceError, InvoiceView};
use crate::storage::invoices::{HtlcSelection, InvoiceRef, InvoiceState};

/// As many events may wait for a slow follower.
const BACKLOG: usize = 1_024;
/// Followers that have gone away are looked for when there are as many.
const FIRST_CLEANING: usize = 64;

type Sender = mpsc::Sender<Result<InvoiceEvent, TooSlow>>;
type Receiver = mpsc::Receiver<Result<InvoiceEvent, TooSlow>>;

impl Registry {
    /// The invoice as it is now, then every change of it. It may be followed by any name that
    /// [`Registry::lookup`] takes.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`], or if the database cannot be read.
    pub fn subscribe_one(&self, by: &InvoiceRef) -> Result<SingleSubscription, InvoiceError> {
        let found = self.store.invoice_by(by)?;
        let add_index = found.ok_or(InvoiceError::NotFound)?.add_index;
        // First the live events, then the state: nothing falls between, and what comes twice is
        // left out by `Told`.
        let live = self.followers().follow(add_index);
        let view = self.lookup(by, HtlcSelection::All)?;
        Ok(SingleSubscription {
            told: Told::of(&view),
            first: Some(view),
            live,
        })
    }
}

/// The follower was too slow; it can begin again.
#[derive(Debug, thiserror::Error)]
#[error("changes of the invoice were missed; subscribe again, its state comes first")]
pub struct TooSlow;

/// Who follows which invoice. An event costs nothing for those who follow another one.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<ByInvoice>);

#[derive(Debug, Default)]
struct ByInvoice {
    by_add_index: HashMap<u64, Vec<Sender>>,
    clean_at: usize,
}

impl Followers {
    fn follow(&self, add_index: u64) -> Receiver {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followed.clean();
        followed
            .by_add_index
            .entry(add_index)
            .or_default()
            .push(sender);
        receiver
    }

    /// Passes an event to those who follow its invoice.
    pub(super) fn tell(&self, event: &InvoiceEvent) {
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let add_index = event.view().record.add_index;
        let Some(senders) = followed.by_add_index.get_mut(&add_index) else {
            return;
        };
        senders.retain(|sender| tell(sender, event));
        if senders.is_empty() {
            followed.by_add_index.remove(&add_index);
        }
    }
}

/// Whether this follower can be told more. The last place of the queue is for the news that it was
/// too slow; nobody else sends, so the place is still free when it is taken.
fn tell(sender: &Sender, event: &InvoiceEvent) -> bool {
    if sender.capacity() > 1 {
        return sender.try_send(Ok(event.clone())).is_ok();
    }
    // One that has gone away meanwhile need not know.
    let _ = sender.try_send(Err(TooSlow));
    false
}

impl ByInvoice {
    /// Forgets followers that have gone away; each time that their number has doubled.
    fn clean(&mut self) {
        if self.by_add_index.len() < self.clean_at.max(FIRST_CLEANING) {
            return;
        }
        self.by_add_index.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        self.clean_at = self.by_add_index.len() * 2;
    }
}

/// How far a follower has been told.
#[derive(Debug)]
struct Told {
    /// 0: no settlement.
    settle_index: u64,
    accepted: bool,
    /// Nothing comes any more.
    end: bool,
}

impl Told {
    fn of(view: &InvoiceView) -> Self {
        let state = view.record.state;
        Self {
            settle_index: last_settle_index(view),
            accepted: state == InvoiceState::Accepted,
            end: matches!(state, InvoiceState::Settled | InvoiceState::Canceled),
        }
    }

    /// Whether the event is news; it is told from now on. One that happened before the state was
    /// read may be announced after it.
    fn is_news(&mut self, event: &InvoiceEvent) -> bool {
        match event {
            InvoiceEvent::Added(_) => false,
            InvoiceEvent::Accepted(_) => !std::mem::replace(&mut self.accepted, true),
            InvoiceEvent::Settled(view) => {
                // An AMP invoice goes on: it can be paid again.
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

/// One invoice from now on.
#[derive(Debug)]
pub struct SingleSubscription {
    first: Option<InvoiceView>,
    told: Told,
    live: Receiver,
}

impl SingleSubscription {
    /// First the invoice as it is, with all that paid it; then, after each change, as it is then, of
    /// AMP with the set that settled. `None` once it is final (canceled, or settled if it can be paid
    /// once only), and when the node stops.
    ///
    /// # Errors
    /// [`TooSlow`]; nothing comes after it.
    pub async fn next(&mut self) -> Result<Option<InvoiceView>, TooSlow> {
        if let Some(view) = self.first.take() {
            return Ok(Some(view));
        }
        while !self.told.end {
            let Some(event) = self.live.recv().await.transpose()? else {
                return Ok(None);
            };
            if self.told.is_news(&event) {
                return Ok(Some(event.into_view()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
