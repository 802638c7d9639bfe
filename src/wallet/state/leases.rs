//! The leases of coins, by coin.

use std::collections::BTreeMap;

use bitcoin::{OutPoint, TxOut};

use crate::wallet::store::Lease;

/// A lease and the output that it reserves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedCoin {
    /// The lease.
    pub lease: Lease,
    /// The leased output.
    pub output: TxOut,
}

/// All leases by coin.
#[derive(Debug, Default)]
pub(in crate::wallet) struct Leases(BTreeMap<OutPoint, Lease>);

impl Leases {
    /// Restores stored leases.
    pub(in crate::wallet) fn new(stored: Vec<Lease>) -> Self {
        Self(
            stored
                .into_iter()
                .map(|lease| (lease.coin, lease))
                .collect(),
        )
    }

    /// The lease of a coin, unless it has expired.
    pub(in crate::wallet) fn of(&self, coin: &OutPoint, now: u64) -> Option<&Lease> {
        self.0.get(coin).filter(|lease| lease.expires_at > now)
    }

    /// The leases that have not expired.
    pub(in crate::wallet) fn current(&self, now: u64) -> impl Iterator<Item = &Lease> {
        self.0.values().filter(move |lease| lease.expires_at > now)
    }

    /// Stores a lease, and drops those that have expired.
    pub(in crate::wallet) fn put(&mut self, lease: Lease, now: u64) {
        self.0.retain(|_, lease| lease.expires_at > now);
        self.0.insert(lease.coin, lease);
    }

    /// Removes the lease of a coin.
    pub(in crate::wallet) fn remove(&mut self, coin: &OutPoint) {
        self.0.remove(coin);
    }
}
