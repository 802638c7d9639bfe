//! The payment registry: tracking and looking up payments.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use lightning::ln::channelmanager::PaymentId;
use tokio::sync::watch;

use super::active::Active;
use super::outbound_htlcs::OutboundHtlcs;
use super::probes::Probes;
use super::slots::Slots;
use super::updates::Followers;
use super::{PaymentView, ids};
use crate::storage::{StorageError, Store};
use crate::sync::lock;

/// All payments of this node.
pub struct Payments {
    pub(super) store: Arc<Store>,
    pub(super) outbound: Arc<dyn OutboundHtlcs>,
    pub(super) runtime: tokio::runtime::Handle,
    /// By identifier: payments that have not ended, or whose end is not on disk yet.
    pub(super) active: Mutex<HashMap<[u8; 32], Arc<Active>>>,
    /// The payment and the attempt, by LDK's payment id.
    pub(super) attempts: Mutex<HashMap<PaymentId, (Arc<Active>, u64)>>,
    pub(super) probes: Probes,
    pub(super) slots: Slots,
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
            slots: Slots::default(),
            next_payment: AtomicU64::new(last_payment + 1),
            next_attempt: AtomicU64::new(last_attempt + 1),
            followers: Arc::default(),
        }))
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
