//! Updates of payments on their way to subscribers.
//!
//! A subscriber to all payments that reads in time gets every update. For a slow one, a bounded
//! number is queued; payments with later updates are only noted by identifier and looked up when
//! the subscriber catches up. No subscriber misses the end of a payment, and a slow one costs a few
//! bytes per payment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{Notify, watch};

use super::view::PaymentView;
use crate::sync::lock;

/// Updates that may queue for a slow subscriber.
const UPDATE_QUEUE_LEN: usize = 256;

/// Sends the updates of one payment to its subscribers and to those of all payments.
pub(super) struct Updates {
    view: watch::Sender<PaymentView>,
    followers: Arc<Followers>,
}

impl Updates {
    pub(super) fn new(first: PaymentView, followers: &Arc<Followers>) -> Self {
        followers.tell(&first);
        Self {
            view: watch::Sender::new(first),
            followers: followers.clone(),
        }
    }

    pub(super) fn send_replace(&self, view: PaymentView) {
        self.followers.tell(&view);
        self.view.send_replace(view);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<PaymentView> {
        self.view.subscribe()
    }

    pub(super) fn borrow(&self) -> watch::Ref<'_, PaymentView> {
        self.view.borrow()
    }
}

/// The subscribers of all payments.
#[derive(Default)]
pub(super) struct Followers(Mutex<Vec<Weak<Mailbox>>>);

impl Followers {
    /// Adds a subscriber. It is removed once its mailbox is dropped.
    pub(super) fn follow(&self) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        lock(&self.0).push(Arc::downgrade(&mailbox));
        mailbox
    }

    fn tell(&self, view: &PaymentView) {
        lock(&self.0).retain(|follower| {
            let mailbox = follower.upgrade();
            if let Some(mailbox) = &mailbox {
                mailbox.put(view);
            }
            mailbox.is_some()
        });
    }
}

/// The updates that a subscriber has not read yet.
#[derive(Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    updates: VecDeque<PaymentView>,
    /// Payments updated while `updates` was full: identifiers by payment index.
    late: BTreeMap<u64, [u8; 32]>,
}

/// The next item for a subscriber.
pub(super) enum Next {
    Update(Box<PaymentView>),
    LookUp([u8; 32]),
}

impl Mailbox {
    fn put(&self, view: &PaymentView) {
        let mut waiting = lock(&self.waiting);
        // While some are late, all updates go there, so that no earlier state follows the final
        // one.
        if waiting.late.is_empty() && waiting.updates.len() < UPDATE_QUEUE_LEN {
            waiting.updates.push_back(view.clone());
        } else {
            let record = &view.record;
            waiting.late.insert(record.payment_index, record.identifier);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    pub(super) fn take(&self) -> Option<Next> {
        let mut waiting = lock(&self.waiting);
        match waiting.updates.pop_front() {
            Some(view) => Some(Next::Update(Box::new(view))),
            None => {
                let (_, identifier) = waiting.late.pop_first()?;
                Some(Next::LookUp(identifier))
            }
        }
    }

    /// Waits until an update has arrived since the last call.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}
