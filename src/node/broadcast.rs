//! Everything that LDK broadcasts is seen by the channels room, too: it knows closing transactions.

use std::sync::Arc;

use bitcoin::Transaction;
use lightning::chain::chaininterface::BroadcasterInterface;

use crate::chain::Broadcaster;
use crate::channels::spends::FundingSpends;

/// Tells the channels room, then sends.
pub(super) struct Tee {
    pub(super) spends: Arc<FundingSpends>,
    pub(super) broadcaster: Arc<Broadcaster>,
}

impl BroadcasterInterface for Tee {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        self.spends.broadcast(txs);
        self.broadcaster.broadcast_transactions(txs);
    }
}
