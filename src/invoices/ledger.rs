//! What the registry keeps in memory: the sets that are being collected, and what was decided a
//! moment ago and is not yet on disk, where queries would find it.

use std::collections::HashMap;
use std::hash::Hash;

use super::open_sets::OpenSets;
use crate::amp::{PaymentAddr, SetId};
use crate::storage::invoices::{InvoiceRecord, SetRecord};
use crate::storage::{Store, Ticket};

/// Under one lock: every decision sees all decisions before it.
pub(super) struct Ledger {
    pub(super) open: OpenSets,
    pub(super) invoices: Recent<PaymentAddr, InvoiceRecord>,
    pub(super) hashes: Recent<[u8; 32], PaymentAddr>,
    pub(super) sets: Recent<SetId, SetRecord>,
    last_add_index: u64,
    last_settle_index: u64,
}

impl Ledger {
    pub(super) fn new(last_add_index: u64, last_settle_index: u64) -> Self {
        Self {
            open: OpenSets::default(),
            invoices: Recent::default(),
            hashes: Recent::default(),
            sets: Recent::default(),
            last_add_index,
            last_settle_index,
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

    /// An invoice that was made or changed a moment ago.
    pub(super) fn remember(&mut self, store: &Store, invoice: InvoiceRecord, ticket: Ticket) {
        let addr = PaymentAddr::from_bytes(invoice.payment_addr);
        self.hashes
            .insert(store, invoice.payment_hash, addr, ticket);
        self.invoices.insert(store, addr, invoice, ticket);
    }
}

/// Values that wait for the disk. Ask here first, then the database.
pub(super) struct Recent<K, V>(HashMap<K, (V, Ticket)>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Also lets go of what is on disk by now.
    pub(super) fn insert(&mut self, store: &Store, key: K, value: V, ticket: Ticket) {
        self.0.retain(|_, (_, ticket)| !store.is_durable(*ticket));
        self.0.insert(key, (value, ticket));
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(|(value, _)| value)
    }
}
