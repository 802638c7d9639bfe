//! Starting payments.

use std::sync::Arc;

use tokio::sync::watch;

use super::active::{Active, Recipient};
use super::lifecycle::Lifecycle;
use super::registry::Payments;
use super::request::NewPayment;
use super::{PaymentView, SendError};
use crate::clock::unix_seconds;
use crate::model::payment::PaymentState;
use crate::storage::payments::PutPayment;
use crate::storage::{Health, Ticket};
use crate::sync::lock;
use crash_points::Point;

impl Payments {
    /// Starts a payment. It is on disk when this returns.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent.
    pub async fn send(
        self: &Arc<Self>,
        payment: NewPayment,
    ) -> Result<watch::Receiver<PaymentView>, SendError> {
        payment.check()?;
        if payment.destination == self.outbound.our_node_id() {
            return Err(match payment.allow_self_payment {
                true => SendError::SelfPaymentUnsupported,
                false => SendError::SelfPayment,
            });
        }
        let expires_at = payment.expires_at();
        let (lifecycle, recipient) = self.prepare(payment);
        self.start(lifecycle, recipient, expires_at).await
    }

    async fn start(
        self: &Arc<Self>,
        lifecycle: Lifecycle,
        recipient: Recipient,
        expires_at: Option<u64>,
    ) -> Result<watch::Receiver<PaymentView>, SendError> {
        if let Health::Failing(why) = &*self.store.health().borrow() {
            return Err(SendError::NotWriting(why.clone()));
        }
        let ticket = self.store_new(&lifecycle, recipient, expires_at)?;
        crash_points::when_stored(Point::PaymentStored, || self.store.flush());
        let identifier = lifecycle.record.identifier;
        let updates = lock(&self.active)
            .get(&identifier)
            .map(|a| a.view.subscribe());
        self.spawn_advance(identifier);
        self.store.durable(ticket).await;
        // It was inserted above, and is removed only when its end is on disk.
        Ok(updates.unwrap_or_else(|| watch::Sender::new(PaymentView::of(&lifecycle)).subscribe()))
    }

    /// Checks, under one lock, that there is no other payment with this identifier, and registers
    /// this one.
    ///
    /// "Already paid" and "in transition" take precedence over an expired invoice.
    fn store_new(
        &self,
        lifecycle: &Lifecycle,
        recipient: Recipient,
        expires_at: Option<u64>,
    ) -> Result<Ticket, SendError> {
        let identifier = lifecycle.record.identifier;
        let mut active = lock(&self.active);
        let earlier = match active.get(&identifier) {
            Some(active) => Some(active.view.borrow().record.state),
            None => self.store.payment(&identifier)?.map(|record| record.state),
        };
        match earlier {
            Some(PaymentState::InFlight) => return Err(SendError::InFlight),
            Some(PaymentState::Succeeded) => return Err(SendError::AlreadyPaid),
            Some(PaymentState::Failed) | None => {}
        }
        if let Some(expires_at) = expires_at.filter(|expires_at| *expires_at <= unix_seconds()) {
            return Err(SendError::Expired(expires_at));
        }
        // The first attempt or the end of the payment follows immediately.
        let ticket = self
            .store
            .submit_deferred(PutPayment(lifecycle.record.clone()));
        let new = Active::new(lifecycle.clone(), recipient, 0, &self.followers);
        active.insert(identifier, new);
        Ok(ticket)
    }
}
