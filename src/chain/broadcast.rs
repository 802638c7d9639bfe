//! Sends transactions to bitcoind, alone or as packages of parents and a child, several at a time.

mod queue;
mod submission;
#[cfg(test)]
mod test_data;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bitcoin::Transaction;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lightning::chain::chaininterface::BroadcasterInterface;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::queue::{Failed, Failure, Queue};
use super::bitcoind::Bitcoind;
use super::error::ChainError;
use crate::sync::lock;

pub use self::submission::{Priority, Submission, parents_first};

/// Maximum number of parallel submissions. bitcoind serves RPC with 16 threads (4 before version 28).
const MAX_PARALLEL: usize = 4;

/// Pause before the next attempt while bitcoind is unavailable, doubled up to [`MAX_PAUSE`]. A new submission
/// is tried after the first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How long shutdown waits for queued submissions.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Minimum interval between warnings about bitcoind's configuration.
const WARNING_INTERVAL: Duration = Duration::from_secs(600);

/// bitcoind's error code for a confirmed transaction (`RPC_VERIFY_ALREADY_IN_UTXO_SET`).
const CODE_ALREADY_IN_CHAIN: i64 = -27;

/// bitcoind's reject reason if spent outputs are unknown or already spent.
const MISSING_INPUTS: &str = "bad-txns-inputs-missingorspent";

/// Queues transactions of LDK and the wallet without blocking, and sends them in a task.
pub struct Broadcaster {
    bitcoind: Arc<Bitcoind>,
    waiting: Mutex<Queue>,
    arrived: Notify,
    last_warning: Mutex<Option<Instant>>,
}

impl Broadcaster {
    /// Creates a broadcaster with an empty queue, to be processed by [`run`](Self::run).
    pub fn new(bitcoind: Arc<Bitcoind>) -> Self {
        Self {
            bitcoind,
            waiting: Mutex::default(),
            arrived: Notify::new(),
            last_warning: Mutex::default(),
        }
    }

    /// Queues a submission, unless a queued one already covers it.
    pub fn submit(&self, submission: Submission) {
        if self.queue().add(submission, Instant::now()) {
            self.arrived.notify_one();
        }
    }

    /// Sends queued submissions until `stop` is cancelled.
    ///
    /// While bitcoind is unavailable, everything waits. A submission that fails for another reason moves
    /// behind all others and is retried after growing pauses. One that bitcoind rejects is dropped when it
    /// has not been submitted again for ten minutes.
    pub async fn run(&self, stop: CancellationToken) {
        let send = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match self.send_due().await {
                    Ok(next_due) => {
                        pause = FIRST_PAUSE;
                        self.until_arrival(next_due).await;
                    }
                    Err(_) => {
                        tokio::time::sleep(FIRST_PAUSE).await;
                        // A new submission may mean that bitcoind is back.
                        let due = Instant::now() + pause.saturating_sub(FIRST_PAUSE);
                        self.until_arrival(Some(due)).await;
                        pause = (pause * 2).min(MAX_PAUSE);
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = send => {}
        }
    }

    /// Sends as much as possible within five seconds. Called at shutdown, after [`run`](Self::run).
    pub async fn finish(&self) {
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.send_due()).await;
    }

    async fn until_arrival(&self, next_due: Option<Instant>) {
        let due = async {
            match next_due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.arrived.notified() => {}
            () = due => {}
        }
    }

    /// Sends all submissions that are due. Returns when the next one will be.
    ///
    /// # Errors
    /// If bitcoind is unavailable.
    async fn send_due(&self) -> Result<Option<Instant>, ChainError> {
        self.queue().all_unsent();
        let mut sending = FuturesUnordered::new();
        let mut absence = None;
        loop {
            while absence.is_none() && sending.len() < MAX_PARALLEL {
                let Some(submission) = self.queue().next(Instant::now()) else {
                    break;
                };
                sending.push(self.send(submission));
            }
            let has_capacity = absence.is_none() && sending.len() < MAX_PARALLEL;
            let next_due = self.queue().next_due();
            // Submissions that are due already wait for one that is being sent.
            let next_due_later = next_due.filter(|due| *due > Instant::now());
            tokio::select! {
                sent = sending.next() => match sent {
                    Some(Ok(())) => {}
                    Some(Err(error)) => absence = Some(error),
                    None => return absence.map_or(Ok(next_due), Err),
                },
                () = self.until_arrival(next_due_later), if has_capacity && !sending.is_empty() => {}
            }
        }
    }

    /// Sends a submission and updates the queue.
    ///
    /// # Errors
    /// If bitcoind is unavailable. The submission stays queued.
    async fn send(&self, submission: Submission) -> Result<(), ChainError> {
        match self.publish(submission.transactions()).await {
            Ok(()) => {
                tracing::debug!(txids = ?submission.txids(), "broadcast");
                self.queue().sent(&submission);
            }
            Err(error) if error.is_absence() => {
                tracing::debug!(%error, "bitcoind is unavailable, transactions stay queued");
                self.queue().unsent(&submission);
                return Err(error);
            }
            Err(error) => self.failed(&submission, &error),
        }
        Ok(())
    }

    fn failed(&self, submission: &Submission, error: &ChainError) {
        if error.is_configuration() {
            self.warn(error);
        }
        let why = failure(error);
        let failed = self.queue().failed(submission, why, Instant::now());
        let txids = submission.txids();
        // Only info: LDK often sends claims whose outputs a peer has already claimed.
        if failed == (Failed::Kept { tries: 1 }) && submission.priority() != Priority::Idle {
            tracing::info!(?txids, %error, "transaction not accepted");
        } else {
            tracing::debug!(?txids, %error, ?failed, "transaction not accepted");
        }
    }

    /// Warns that bitcoind's configuration has to be changed, at most once per interval.
    fn warn(&self, error: &ChainError) {
        let mut last = lock(&self.last_warning);
        if last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!("bitcoind's configuration impairs broadcasting: {error}");
        }
    }

    /// Checks that bitcoind responds, so that transactions can be sent.
    ///
    /// # Errors
    /// Those of [`Bitcoind::chain_info`].
    pub async fn check_reachable(&self) -> Result<(), ChainError> {
        self.bitcoind.chain_info().await.map(drop)
    }

    /// Submits `transactions` immediately: a single one, or parents and their child in any order.
    ///
    /// A transaction that bitcoind already has, in its mempool or in a block, counts as sent.
    ///
    /// # Errors
    /// [`ChainError::Rpc`] with bitcoind's reason if it rejects them; other errors if it is unavailable.
    pub async fn publish(&self, transactions: &[Transaction]) -> Result<(), ChainError> {
        match transactions {
            [] => Ok(()),
            [transaction] => self.publish_one(transaction).await,
            _ => {
                let package = Submission::new(transactions.to_vec());
                self.publish_package(package.transactions()).await
            }
        }
    }

    async fn publish_one(&self, tx: &Transaction) -> Result<(), ChainError> {
        match self.bitcoind.send_raw_transaction(tx).await {
            Err(ChainError::Rpc { code, message, .. }) if is_known(code, &message) => Ok(()),
            sent => sent,
        }
    }

    /// Submits a package. The package may fail as a whole because a parent is confirmed, the parents depend
    /// on each other, or bitcoind does not allow `submitpackage`. Then each transaction is sent alone, and
    /// the result for the child decides.
    async fn publish_package(&self, txs: &[Transaction]) -> Result<(), ChainError> {
        let reason = match self.bitcoind.submit_package(txs).await {
            Ok(answer) => match refusal_of_package(&answer) {
                None => return Ok(()),
                Some(reason) => reason,
            },
            Err(error) if error.is_absence() => return Err(error),
            Err(error) => {
                if error.is_configuration() {
                    self.warn(&error);
                }
                error.to_string()
            }
        };
        tracing::debug!(
            reason,
            "package rejected, sending its transactions one by one"
        );
        self.publish_each(txs).await.map_err(|error| match error {
            ChainError::Rpc {
                method,
                code,
                message,
            } => ChainError::Rpc {
                method,
                code,
                message: format!("{message}; as a package: {reason}"),
            },
            other => other,
        })
    }

    /// Sends each transaction alone. The result is that of the last one, the child.
    async fn publish_each(&self, txs: &[Transaction]) -> Result<(), ChainError> {
        // A child without its parent has missing inputs, so the parent's error is the one to report.
        let mut refusal = None;
        let mut child_is_in = false;
        for tx in txs {
            match self.publish_one(tx).await {
                Ok(()) => child_is_in = true,
                Err(error) if error.is_absence() => return Err(error),
                Err(error) => {
                    tracing::debug!(txid = %tx.compute_txid(), %error, "transaction rejected");
                    child_is_in = false;
                    refusal.get_or_insert(error);
                }
            }
        }
        match refusal {
            Some(error) if !child_is_in => Err(error),
            _ => Ok(()),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.waiting)
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        let transactions = txs.iter().map(|&tx| tx.clone()).collect();
        self.submit(Submission::new(transactions));
    }
}

fn failure(error: &ChainError) -> Failure {
    match error {
        // Only the error for the transaction itself counts, not that for the package.
        ChainError::Rpc { message, .. } if message.starts_with(MISSING_INPUTS) => {
            Failure::MissingInputs
        }
        _ if error.is_refusal() => Failure::Refused,
        _ => Failure::Unjudged,
    }
}

/// Whether the rejection means that bitcoind already has the transaction.
fn is_known(code: i64, message: &str) -> bool {
    code == CODE_ALREADY_IN_CHAIN
        || [
            "txn-already-in-mempool",
            "txn-already-known",
            "txn-same-nonwitness-data-in-mempool",
        ]
        .iter()
        .any(|known| message.contains(known))
}

/// The reason why `submitpackage` did not accept all transactions, or `None` if it did.
fn refusal_of_package(answer: &Value) -> Option<String> {
    let errors = answer["tx-results"]
        .as_object()
        .into_iter()
        .flat_map(|results| results.values());
    let errors: Vec<&str> = errors
        .filter_map(|result| result["error"].as_str())
        .filter(|error| !is_known(0, error))
        .collect();
    match answer["package_msg"].as_str() {
        Some("success") => None,
        // bitcoind 26 and 27 have no package_msg.
        None if errors.is_empty() => None,
        message => Some(format!(
            "{}: {}",
            message.unwrap_or("rejected"),
            errors.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests;
