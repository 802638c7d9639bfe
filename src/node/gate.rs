//! Delays LDK's broadcasts until the state that caused them is committed.
//!
//! LDK broadcasts a transaction in the middle of the call that requires it (a force close, an HTLC
//! claim), before the monitor update of that call is even queued. If the transaction were sent and the
//! update lost in a crash, the node would continue to use a channel whose commitment is in the mempool,
//! and revoke that commitment with the next payment. So every broadcast from LDK waits here for a
//! [`Store::barrier`]: a commit of all changes up to that point. These include the rows of an AMP set,
//! which are queued before its HTLCs are claimed, so that an HTLC is claimed on chain only after the
//! decision about the whole set is on disk.
//!
//! Fee bump events ([`BumpTransactionEvent`]) wait in the same way. LDK repeats them with every
//! `rebroadcast_pending_claims` and after a restart, so queued ones need no persistence.
//!
//! The gate drops transactions that would replace an agreed cooperative close
//! ([`FundingSpends::keeps_back`]), and all transactions of a channel in which we have no balance and whose
//! funding bitcoind does not know. Transactions with our money in them are sent first
//! ([`BroadcastPriorities`]).

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bitcoin::Transaction;
use lightning::chain::ClaimId;
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::events::bump_transaction::BumpTransactionEvent;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::broadcast_priorities::BroadcastPriorities;
use super::bump::Bumper;
use crate::chain::{Broadcaster, Priority, Submission};
use crate::channels::funding_spends::FundingSpends;
use crate::storage::Store;
use crate::sync::lock;
use crash_points::Point;

/// How long shutdown waits for the commits of queued transactions.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Queues LDK's broadcasts until their state is committed, then passes them to the broadcaster.
pub(super) struct Gate {
    store: Arc<Store>,
    spends: Arc<FundingSpends>,
    broadcaster: Arc<Broadcaster>,
    /// Set after construction, because the monitors depend on the gate.
    priorities: OnceLock<BroadcastPriorities>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

/// Items that wait for a commit, in order of arrival.
#[derive(Default)]
struct Waiting {
    items: Vec<(u64, Item)>,
    /// The number of the newest item.
    last: u64,
}

enum Item {
    Transactions(Submission),
    Bump(Box<BumpTransactionEvent>),
}

impl Item {
    fn is_covered_by(&self, older: &Self) -> bool {
        match (self, older) {
            (Self::Transactions(new), Self::Transactions(old)) => new.is_covered_by(old),
            (Self::Transactions(_) | Self::Bump(_), _) => false,
        }
    }

    /// Whether this is a newer version of `older`, which claims the same outputs.
    fn replaces(&self, older: &Self) -> bool {
        match (self, older) {
            (Self::Transactions(new), Self::Transactions(old)) => new.replaces(old),
            (Self::Bump(new), Self::Bump(old)) => claim_id(new) == claim_id(old),
            (Self::Transactions(_), Self::Bump(_)) | (Self::Bump(_), Self::Transactions(_)) => {
                false
            }
        }
    }
}

impl Waiting {
    fn push(&mut self, item: Item) {
        if self
            .items
            .iter()
            .any(|(_, older)| item.is_covered_by(older))
        {
            return;
        }
        self.items.retain(|(_, older)| !item.replaces(older));
        self.last += 1;
        self.items.push((self.last, item));
    }

    /// Removes and returns all items up to this number.
    fn take(&mut self, last: u64) -> Vec<Item> {
        let count = self.items.partition_point(|(number, _)| *number <= last);
        self.items.drain(..count).map(|(_, item)| item).collect()
    }
}

impl Gate {
    pub(super) fn new(
        store: Arc<Store>,
        spends: Arc<FundingSpends>,
        broadcaster: Arc<Broadcaster>,
    ) -> Self {
        Self {
            store,
            spends,
            broadcaster,
            priorities: OnceLock::new(),
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Orders later broadcasts by what we have at stake in them.
    pub(super) fn prioritize_by(&self, priorities: BroadcastPriorities) {
        // Called once per node; a second call has no effect.
        let _ = self.priorities.set(priorities);
    }

    /// Queues a fee bump event; it replaces an older one for the same claim.
    pub(super) fn bump(&self, event: BumpTransactionEvent) {
        self.push(Item::Bump(Box::new(event)));
    }

    /// Queues the rebroadcast of a transaction, in case bitcoind has dropped it from its mempool.
    pub(super) fn repeat(&self, transaction: Transaction) {
        self.push(Item::Transactions(Submission::repeated(transaction)));
    }

    /// Passes on committed items until `stop` is cancelled.
    pub(super) async fn run(&self, bumper: &Bumper, stop: CancellationToken) {
        let raise_fee = |event: &_| bumper.handle_event(event);
        let release_committed = async {
            loop {
                self.release_committed(&raise_fee).await;
                self.arrived.notified().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = release_committed => {}
        }
    }

    /// Passes on the remaining items, if their commits succeed within five seconds. Called at shutdown,
    /// after LDK has stopped.
    pub(super) async fn finish(&self, bumper: &Bumper) {
        let raise_fee = |event: &_| bumper.handle_event(event);
        let released =
            tokio::time::timeout(SHUTDOWN_TIMEOUT, self.release_committed(&raise_fee)).await;
        if released.is_err() {
            tracing::warn!("transactions were not broadcast because the database is not writable");
        }
    }

    /// Passes on all queued items as their commits succeed.
    async fn release_committed(&self, raise_fee: &impl Fn(&BumpTransactionEvent)) {
        while let Some(last) = self.last_waiting() {
            let barrier = self.store.barrier();
            self.store.passed(barrier).await;
            let committed = self.waiting().take(last);
            for (priority, item) in self.in_order(committed) {
                match item {
                    Item::Transactions(submission) if submission.is_repeated() => {
                        self.release(submission);
                    }
                    Item::Transactions(submission) => {
                        self.release(submission.with_priority(priority));
                    }
                    Item::Bump(event) => self.raise_fee(*event, priority, raise_fee),
                }
            }
        }
    }

    /// Sorts items by priority and drops those that are not worth broadcasting.
    fn in_order(&self, items: Vec<Item>) -> Vec<(Priority, Item)> {
        let prioritized = items.into_iter().filter_map(|item| {
            let priority = match &item {
                Item::Transactions(submission) => self.priority(submission.transactions()),
                Item::Bump(event) => match &**event {
                    BumpTransactionEvent::ChannelClose { commitment_tx, .. } => {
                        self.priority(std::slice::from_ref(commitment_tx))
                    }
                    BumpTransactionEvent::HTLCResolution { .. } => Some(Priority::Urgent),
                },
            };
            Some((priority?, item))
        });
        let mut prioritized: Vec<_> = prioritized.collect();
        prioritized.sort_by_key(|(priority, _)| *priority);
        prioritized
    }

    fn priority(&self, transactions: &[Transaction]) -> Option<Priority> {
        match self.priorities.get() {
            Some(priorities) => priorities.priority(transactions),
            None => Some(Priority::Urgent),
        }
    }

    /// Handles a fee bump event. No fee is paid for a commitment in which we have nothing.
    fn raise_fee(
        &self,
        event: BumpTransactionEvent,
        priority: Priority,
        raise_fee: &impl Fn(&BumpTransactionEvent),
    ) {
        if let BumpTransactionEvent::ChannelClose { commitment_tx, .. } = &event {
            if self.spends.keeps_back(std::slice::from_ref(commitment_tx)) {
                return;
            }
            if priority == Priority::Idle {
                let commitment = Submission::new(vec![commitment_tx.clone()]);
                return self.release(commitment.with_priority(priority));
            }
        }
        raise_fee(&event);
        crash_points::at(Point::FeeRaised);
    }

    fn release(&self, submission: Submission) {
        if self.spends.keeps_back(submission.transactions()) {
            return;
        }
        if self.spends.are_agreed(submission.transactions()) {
            crash_points::at(Point::CloseStored);
        }
        self.spends.broadcast(submission.transactions());
        self.broadcaster.submit(submission);
    }

    fn last_waiting(&self) -> Option<u64> {
        let waiting = self.waiting();
        (!waiting.items.is_empty()).then_some(waiting.last)
    }

    fn push(&self, item: Item) {
        self.waiting().push(item);
        self.arrived.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

impl BroadcasterInterface for Gate {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        let transactions: Vec<Transaction> = txs.iter().map(|&tx| tx.clone()).collect();
        self.spends.note_agreed(&transactions);
        if !transactions.is_empty() {
            self.push(Item::Transactions(Submission::new(transactions)));
        }
    }
}

fn claim_id(event: &BumpTransactionEvent) -> ClaimId {
    match event {
        BumpTransactionEvent::ChannelClose { claim_id, .. }
        | BumpTransactionEvent::HTLCResolution { claim_id, .. } => *claim_id,
    }
}

#[cfg(test)]
mod tests;
