//! The payment registry: starting, tracking and looking up payments.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::PaymentId;
use lightning_types::routing::RouteHint;
use tokio::sync::watch;

use super::advance::FIRST_PAUSE;
use super::clock::now;
use super::failed_channels::FailedChannels;
use super::lifecycle::Lifecycle;
use super::outbound_htlcs::OutboundHtlcs;
use super::probe::Probes;
use super::request::NewPayment;
use super::shards::ShardRecord;
use super::sync::lock;
use super::updates::{Followers, Updates};
use super::{PaymentView, SendError, ids};
use crate::storage::payments::{PaymentState, PaymentTerms, PutPayment};
use crate::storage::{Health, StorageError, Store, Ticket};
use crash_points::Point;
use ldk_amp::PaymentAddr;

/// The recipient's part of the onion, the same in every attempt.
#[derive(Clone)]
pub(super) struct Recipient {
    pub(super) destination: PublicKey,
    pub(super) payment_addr: Option<PaymentAddr>,
    pub(super) metadata: Option<Vec<u8>>,
    pub(super) route_hints: Vec<RouteHint>,
}

/// The constant data from which attempts are built.
pub(super) struct AttemptTemplate {
    pub(super) identifier: [u8; 32],
    /// The largest record 14 that an attempt may need; `None` if not AMP.
    pub(super) largest_shard: Option<ShardRecord>,
    pub(super) terms: PaymentTerms,
    pub(super) recipient: Recipient,
}

/// A payment in progress.
pub(super) struct Active {
    pub(super) template: AttemptTemplate,
    /// Held by the thread that advances the payment.
    pub(super) advancing: Mutex<()>,
    pub(super) progress: Mutex<Progress>,
    pub(super) view: Updates,
}

/// The changing state of a payment in progress.
pub(super) struct Progress {
    pub(super) lifecycle: Lifecycle,
    pub(super) failed_channels: FailedChannels,
    /// Attempts that failed since startup.
    pub(super) failures: u32,
    /// The number of failed attempts at the time of the last pause.
    pub(super) paused_at: u32,
    /// Until this time (seconds since 1970), "no route" is retried: channels are not usable right
    /// after startup.
    pub(super) retry_no_route_until: u64,
    pub(super) next_pause: Duration,
    /// A new route search is scheduled.
    pub(super) is_pausing: bool,
}

/// All payments of this node.
pub struct Payments {
    pub(super) store: Arc<Store>,
    pub(super) outbound: Arc<dyn OutboundHtlcs>,
    pub(super) runtime: tokio::runtime::Handle,
    /// By identifier: payments that have not ended, or whose end is not on disk yet.
    pub(super) active: Mutex<HashMap<[u8; 32], Arc<Active>>>,
    /// The payment and the attempt, by LDK's payment id.
    attempts: Mutex<HashMap<PaymentId, (Arc<Active>, u64)>>,
    pub(super) probes: Probes,
    pub(super) next_payment: AtomicU64,
    pub(super) next_attempt: AtomicU64,
    pub(super) followers: Arc<Followers>,
}

impl Payments {
    /// Creates the registry. Call [`Payments::restore`] before LDK events are handled.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn new(
        store: Arc<Store>,
        outbound: Arc<dyn OutboundHtlcs>,
        runtime: tokio::runtime::Handle,
    ) -> Result<Arc<Self>, StorageError> {
        let (last_payment, last_attempt) = store.payment_indices()?;
        Ok(Arc::new(Self {
            store,
            outbound,
            runtime,
            active: Mutex::default(),
            attempts: Mutex::default(),
            probes: Probes::default(),
            next_payment: AtomicU64::new(last_payment + 1),
            next_attempt: AtomicU64::new(last_attempt + 1),
            followers: Arc::default(),
        }))
    }

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

    /// Returns the payment with this identifier (payment hash, or set_id for AMP), with live
    /// updates if it is in progress.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn track(
        &self,
        identifier: &[u8; 32],
    ) -> Result<Option<watch::Receiver<PaymentView>>, StorageError> {
        if let Some(active) = lock(&self.active).get(identifier) {
            return Ok(Some(active.view.subscribe()));
        }
        let Some(record) = self.store.payment(identifier)? else {
            return Ok(None);
        };
        let attempts = self.store.attempts(record.payment_index)?;
        Ok(Some(
            watch::Sender::new(PaymentView { record, attempts }).subscribe(),
        ))
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
        Ok(updates.unwrap_or_else(|| watch::Sender::new(view(&lifecycle)).subscribe()))
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
        if let Some(expires_at) = expires_at.filter(|expires_at| *expires_at <= now()) {
            return Err(SendError::Expired(expires_at));
        }
        // The first attempt or the end of the payment follows immediately.
        let ticket = self
            .store
            .submit_patiently(PutPayment(lifecycle.record.clone()));
        let new = new_active(lifecycle.clone(), recipient, 0, &self.followers);
        active.insert(identifier, new);
        Ok(ticket)
    }

    pub(super) fn adopt(&self, identifier: [u8; 32], active: Arc<Active>) {
        for attempt in &lock(&active.progress).lifecycle.attempts {
            self.register(ids::payment_id(attempt), &active, attempt.attempt_id);
        }
        lock(&self.active).insert(identifier, active);
    }

    pub(super) fn register(&self, id: PaymentId, active: &Arc<Active>, attempt_id: u64) {
        lock(&self.attempts).insert(id, (active.clone(), attempt_id));
    }

    /// The payment and the attempt with LDK's payment id.
    pub(super) fn attempt(&self, id: &PaymentId) -> Option<(Arc<Active>, u64)> {
        lock(&self.attempts).get(id).cloned()
    }

    /// A payment in progress, or whose end is not on disk yet.
    pub(super) fn active(&self, identifier: &[u8; 32]) -> Option<Arc<Active>> {
        lock(&self.active).get(identifier).cloned()
    }

    /// The payments in progress, oldest first.
    pub(super) fn in_flight(&self) -> Vec<PaymentView> {
        let active = lock(&self.active);
        let views = active.values().map(|active| active.view.borrow().clone());
        let mut views: Vec<_> = views.filter(|view| !view.is_final()).collect();
        views.sort_by_key(|view| view.record.payment_index);
        views
    }

    /// Removes a payment whose end is on disk.
    pub(super) fn forget(&self, active: &Arc<Active>, view: &PaymentView) {
        let mut all = lock(&self.active);
        if all
            .get(&view.record.identifier)
            .is_some_and(|found| Arc::ptr_eq(found, active))
        {
            all.remove(&view.record.identifier);
        }
        drop(all);
        let mut attempts = lock(&self.attempts);
        for attempt in &view.attempts {
            attempts.remove(&ids::payment_id(attempt));
        }
    }
}

pub(super) fn new_active(
    lifecycle: Lifecycle,
    recipient: Recipient,
    retry_no_route_until: u64,
    followers: &Arc<Followers>,
) -> Arc<Active> {
    let view = Updates::new(view(&lifecycle), followers);
    let template = AttemptTemplate {
        identifier: lifecycle.record.identifier,
        largest_shard: lifecycle.largest_shard(),
        terms: lifecycle.record.terms.clone(),
        recipient,
    };
    let progress = Progress {
        lifecycle,
        failed_channels: FailedChannels::default(),
        failures: 0,
        paused_at: 0,
        retry_no_route_until,
        next_pause: FIRST_PAUSE,
        is_pausing: false,
    };
    Arc::new(Active {
        template,
        advancing: Mutex::default(),
        progress: Mutex::new(progress),
        view,
    })
}

pub(super) fn view(lifecycle: &Lifecycle) -> PaymentView {
    PaymentView {
        record: lifecycle.record.clone(),
        attempts: lifecycle.attempts.clone(),
    }
}

#[cfg(test)]
mod tests;
