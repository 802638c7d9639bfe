//! The registry's in-memory state: AMP sets in progress, and decisions that are queued but not
//! committed yet, which queries cannot see.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use lightning_types::payment::{PaymentHash, PaymentPreimage};
use tokio::sync::Notify;

use super::accepted::Accepted;
use super::amp_sets::OpenSets;
use crate::model::htlc::SetRecord;
use crate::model::invoice::{InvoiceRecord, InvoiceState};
use crate::storage::{Store, Ticket};
use ldk_amp::{Claim, HtlcKey, PaymentAddr, SetId};

/// Kept under one lock, so that every decision sees all earlier ones.
pub(super) struct State {
    pub(super) open: OpenSets,
    /// Accepted hold invoices, by payment hash.
    pub(super) accepted: HashMap<PaymentHash, Accepted>,
    pub(super) invoices: Uncommitted<PaymentAddr, InvoiceRecord>,
    pub(super) hashes: Uncommitted<PaymentHash, PaymentAddr>,
    pub(super) sets: Uncommitted<SetId, SetRecord>,
    /// Preimages of the shards of settled sets.
    pub(super) settled: Uncommitted<HtlcKey, PaymentPreimage>,
    /// Deleted invoices, by add index. Database queries still find them until the deletion is
    /// committed.
    deleted: Uncommitted<u64, ()>,
    last_add_index: u64,
    last_settle_index: u64,
    /// The next run of the hold timer, in seconds since 1970.
    pub(super) timer_at: u64,
    /// The last valid second of the invoice that the expiry task waits for, in seconds since 1970.
    pub(super) expiry_at: u64,
    expiry: Arc<Notify>,
}

impl State {
    /// `expiry` is notified when an invoice expires before the planned wake-up.
    pub(super) fn new(last_add_index: u64, last_settle_index: u64, expiry: Arc<Notify>) -> Self {
        Self {
            open: OpenSets::default(),
            accepted: HashMap::new(),
            invoices: Uncommitted::default(),
            hashes: Uncommitted::default(),
            sets: Uncommitted::default(),
            settled: Uncommitted::default(),
            deleted: Uncommitted::default(),
            last_add_index,
            last_settle_index,
            timer_at: u64::MAX,
            expiry_at: u64::MAX,
            expiry,
        }
    }

    pub(super) fn next_add_index(&mut self) -> u64 {
        self.last_add_index += 1;
        self.last_add_index
    }

    pub(super) fn next_settle_index(&mut self) -> u64 {
        self.last_settle_index += 1;
        self.last_settle_index
    }

    /// Records an invoice that was added or changed and is not committed yet.
    pub(super) fn remember(&mut self, store: &Store, invoice: InvoiceRecord, ticket: Ticket) {
        let addr = invoice.payment_addr;
        if open_until(&invoice).is_some_and(|last| last < self.expiry_at) {
            self.expiry.notify_one();
        }
        self.hashes
            .insert(store, invoice.payment_hash, addr, ticket);
        self.invoices.insert(store, addr, invoice, ticket);
    }

    /// Records the deletion of an invoice that is not committed yet.
    pub(super) fn forget(&mut self, store: &Store, invoice: &InvoiceRecord, ticket: Ticket) {
        self.hashes.remove(&invoice.payment_hash);
        self.invoices.remove(&invoice.payment_addr);
        self.deleted.insert(store, invoice.add_index, (), ticket);
    }

    /// Records a set that was settled and is not committed yet, with the preimages of its shards.
    pub(super) fn remember_settled(
        &mut self,
        store: &Store,
        set_id: SetId,
        set: SetRecord,
        claims: &[Claim],
        ticket: Ticket,
    ) {
        self.sets.insert(store, set_id, set, ticket);
        let preimages = claims.iter().map(|claim| (claim.key, claim.preimage));
        self.settled.extend(store, preimages, ticket);
    }

    pub(super) fn is_deleted(&self, add_index: u64) -> bool {
        self.deleted.get(&add_index).is_some()
    }

    /// Returns the earliest expiry, given that of the invoices on disk, and remembers it as the
    /// wake-up time of the expiry task.
    pub(super) fn plan_expiry(&mut self, on_disk: Option<u64>) -> Option<u64> {
        let recent = self.invoices.values().filter_map(open_until);
        let next = recent.chain(on_disk).min();
        self.expiry_at = next.unwrap_or(u64::MAX);
        next
    }
}

fn open_until(invoice: &InvoiceRecord) -> Option<u64> {
    let open = invoice.state == InvoiceState::Open;
    invoice.expires_at.filter(|_| open)
}

/// Values that are not committed yet. Look here first, then in the database.
pub(super) struct Uncommitted<K, V>(HashMap<K, (V, Ticket)>);

impl<K, V> Default for Uncommitted<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V> Uncommitted<K, V> {
    /// Inserts a value and drops those that have been committed.
    pub(super) fn insert(&mut self, store: &Store, key: K, value: V, ticket: Ticket) {
        self.extend(store, [(key, value)], ticket);
    }

    /// Inserts several values with the same ticket.
    pub(super) fn extend(
        &mut self,
        store: &Store,
        values: impl IntoIterator<Item = (K, V)>,
        ticket: Ticket,
    ) {
        self.0.retain(|_, (_, ticket)| !store.is_durable(*ticket));
        let values = values.into_iter();
        self.0
            .extend(values.map(|(key, value)| (key, (value, ticket))));
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(|(value, _)| value)
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values().map(|(value, _)| value)
    }
}
