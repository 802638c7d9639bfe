//! Subscriptions to a single invoice: its current state, then each change until the state is final.

use super::event::InvoiceEvent;
use super::followers::{Receiver, TooSlow};
use super::registry::Registry;
use super::{InvoiceError, InvoiceView};
use crate::model::invoice::{HtlcSelection, InvoiceRef, InvoiceState};

impl Registry {
    /// Subscribes to an invoice: its current state, then every change. `by` may be any reference
    /// that [`Registry::lookup`] accepts.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`], or if the database cannot be read.
    pub fn subscribe_single(&self, by: &InvoiceRef) -> Result<SingleSubscription, InvoiceError> {
        let found = self.store.invoice_by(by)?;
        let add_index = found.ok_or(InvoiceError::NotFound)?.add_index;
        // Subscribe first, then read the state, so that no event is lost; `Seen` drops duplicates.
        let live = self.announcer.followers.follow(add_index);
        let view = self.lookup(by, HtlcSelection::All)?;
        Ok(SingleSubscription {
            seen: Seen::of(&view),
            first: Some(view),
            live,
        })
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
