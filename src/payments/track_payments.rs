//! Updates of all payments (`TrackPayments`).
//!
//! A subscriber that reads in time gets every update. For a slow one, a bounded number is queued;
//! payments with later updates are only noted by identifier and looked up when the subscriber
//! catches up. No subscriber misses the end of a payment, and a slow one costs a few bytes per
//! payment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, watch};

use super::send::Payments;
use super::view::PaymentView;
use crate::storage::StorageError;

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
    fn follow(&self) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        self.lock().push(Arc::downgrade(&mailbox));
        mailbox
    }

    fn tell(&self, view: &PaymentView) {
        self.lock().retain(|follower| {
            let mailbox = follower.upgrade();
            if let Some(mailbox) = &mailbox {
                mailbox.put(view);
            }
            mailbox.is_some()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Mailbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Mailbox {
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
enum Next {
    Update(Box<PaymentView>),
    LookUp([u8; 32]),
}

impl Mailbox {
    fn put(&self, view: &PaymentView) {
        let mut waiting = self.lock();
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

    fn take(&self) -> Option<Next> {
        let mut waiting = self.lock();
        match waiting.updates.pop_front() {
            Some(view) => Some(Next::Update(Box::new(view))),
            None => {
                let (_, identifier) = waiting.late.pop_first()?;
                Some(Next::LookUp(identifier))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Payments {
    /// Subscribes to all payments: first the current state of those in flight, then live updates.
    #[must_use]
    pub fn track_all(self: &Arc<Self>) -> AllUpdates {
        // Subscribe first, then list those in flight, so that no update is lost; one may appear
        // twice.
        let mailbox = self.followers.follow();
        AllUpdates {
            payments: self.clone(),
            in_flight: self.in_flight().into(),
            mailbox,
        }
    }
}

/// A subscription to all payments.
pub struct AllUpdates {
    payments: Arc<Payments>,
    in_flight: VecDeque<PaymentView>,
    mailbox: Arc<Mailbox>,
}

impl AllUpdates {
    /// Waits for the next update. Payments deleted before they are looked up are left out.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn next(&mut self) -> Result<PaymentView, StorageError> {
        if let Some(view) = self.in_flight.pop_front() {
            return Ok(view);
        }
        loop {
            match self.mailbox.take() {
                Some(Next::Update(view)) => return Ok(*view),
                Some(Next::LookUp(identifier)) => {
                    if let Some(found) = self.payments.track(&identifier)? {
                        return Ok(found.borrow().clone());
                    }
                }
                // A notification between `take` and this leaves a permit.
                None => self.mailbox.filled.notified().await,
            }
        }
    }
}
