//! Nothing is broadcast before it is on disk why.
//!
//! LDK hands a transaction over in the middle of the call that makes it necessary (a forced close, the
//! claim of an HTLC), before the monitor update of that call is even queued. If the transaction left and
//! the update were lost with a crash, the node would go on with a channel whose commitment is in the
//! mempool, and revoke that commitment with the next payment. So everything from LDK waits here for a
//! [`Store::barrier`]: a commit with all that LDK and the rooms did until then. That includes the rows of
//! an AMP set, which are queued before its HTLCs are claimed: on chain, too, an HTLC is claimed only when
//! the decision about the whole set is on disk.
//!
//! Requests to raise a fee ([`BumpTransactionEvent`]) wait in the same way. LDK makes them anew with
//! every `rebroadcast_pending_claims` and after a start, so nothing is lost with those that wait.
//!
//! Of a channel whose close was agreed on, nothing passes that would replace the agreed transaction
//! ([`FundingSpends::keeps_back`]), and nothing at all of a channel without a balance of ours whose funding
//! bitcoind does not know. What has our money in it goes first ([`Stakes`]).

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bitcoin::Transaction;
use lightning::chain::ClaimId;
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::events::bump_transaction::BumpTransactionEvent;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::bump::Bumper;
use super::stakes::Stakes;
use crash_points::{self, Point};
use crate::chain::{Broadcaster, Priority, Submission};
use crate::channels::spends::FundingSpends;
use crate::storage::Store;

/// At the node's end: time for what waits for its commit.
const LAST_CALL: Duration = Duration::from_secs(5);

/// Keeps what LDK broadcasts until it is on disk, then hands it on.
pub(super) struct Gate {
    store: Arc<Store>,
    spends: Arc<FundingSpends>,
    broadcaster: Arc<Broadcaster>,
    /// The monitors need the gate first.
    stakes: OnceLock<Stakes>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

/// What waits for a commit, in the order in which it came.
#[derive(Default)]
struct Waiting {
    items: Vec<(u64, Item)>,
    /// The number of the youngest item.
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

    /// The newest version of a claim is the one that counts.
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

    /// All that came up to this number.
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
            stakes: OnceLock::new(),
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// From now on what LDK broadcasts is ordered by what we have at stake in it.
    pub(super) fn weigh_by(&self, stakes: Stakes) {
        // Each gate belongs to one node; the first stays.
        let _ = self.stakes.set(stakes);
    }

    /// Queues a request to raise a fee; a newer one for the same claim takes its place.
    pub(super) fn bump(&self, event: BumpTransactionEvent) {
        self.push(Item::Bump(Box::new(event)));
    }

    /// Queues a transaction that was broadcast before, in case that bitcoind has forgotten it.
    pub(super) fn repeat(&self, transaction: Transaction) {
        self.push(Item::Transactions(Submission::repeated(transaction)));
    }

    /// Hands on what is durable until `stop` is cancelled.
    pub(super) async fn run(&self, bumper: &Bumper, stop: CancellationToken) {
        let raise_fee = |event: &_| bumper.handle_event(event);
        let hand_on = async {
            loop {
                self.hand_on(&raise_fee).await;
                self.arrived.notified().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = hand_on => {}
        }
    }

    /// Hands on what waits, if its commit succeeds within five seconds. For the node's end, when LDK
    /// does nothing any more.
    pub(super) async fn finish(&self, bumper: &Bumper) {
        let raise_fee = |event: &_| bumper.handle_event(event);
        let handed_on = tokio::time::timeout(LAST_CALL, self.hand_on(&raise_fee)).await;
        if handed_on.is_err() {
            tracing::warn!("transactions were not broadcast, since commits fail");
        }
    }

    /// Hands on all that waits, as its commits succeed.
    async fn hand_on(&self, raise_fee: &impl Fn(&BumpTransactionEvent)) {
        while let Some(last) = self.last_waiting() {
            let barrier = self.store.barrier();
            self.store.passed(barrier).await;
            let durable = self.waiting().take(last);
            for (priority, item) in self.in_order(durable) {
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

    /// What has our money in it first, without what is not worth trying.
    fn in_order(&self, items: Vec<Item>) -> Vec<(Priority, Item)> {
        let weighed = items.into_iter().filter_map(|item| {
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
        let mut weighed: Vec<_> = weighed.collect();
        weighed.sort_by_key(|(priority, _)| *priority);
        weighed
    }

    fn priority(&self, transactions: &[Transaction]) -> Option<Priority> {
        match self.stakes.get() {
            Some(stakes) => stakes.priority(transactions),
            None => Some(Priority::Urgent),
        }
    }

    /// For a commitment that brings us nothing no fee is paid.
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
        abort::at(Point::FeeRaised);
    }

    fn release(&self, submission: Submission) {
        if self.spends.keeps_back(submission.transactions()) {
            return;
        }
        if self.spends.are_agreed(submission.transactions()) {
            abort::at(Point::CloseStored);
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

    /// No code that holds this lock can panic halfway through a change.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
