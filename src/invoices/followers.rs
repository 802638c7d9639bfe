//! The subscribers of single invoices.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::mpsc;

use super::event::InvoiceEvent;
use crate::sync::lock;

/// Events that may queue for a slow subscriber.
pub(super) const EVENT_QUEUE_LEN: usize = 1_024;
/// The number of followed invoices at which subscriptions are first checked for closed receivers.
const FIRST_CLEANUP: usize = 64;

type Sender = mpsc::Sender<Result<InvoiceEvent, TooSlow>>;
pub(super) type Receiver = mpsc::Receiver<Result<InvoiceEvent, TooSlow>>;

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
    pub(super) fn follow(&self, add_index: u64) -> Receiver {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE_LEN);
        let mut followed = lock(&self.0);
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
        let mut followed = lock(&self.0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_subscriptions_are_removed() {
        let followers = Followers::default();
        let stays = followers.follow(0);
        for add_index in 1..10_000 {
            drop(followers.follow(add_index));
        }
        let followed = followers.0.lock().unwrap();
        assert!(followed.by_add_index.len() <= FIRST_CLEANUP);
        assert!(followed.by_add_index.contains_key(&0));
        drop(stays);
    }
}
