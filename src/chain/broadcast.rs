//! Brings transactions to bitcoind: one by one, or as a package of parents and child.

mod queue;
mod submission;
#[cfg(test)]
mod test_data;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::Transaction;
use lightning::chain::chaininterface::BroadcasterInterface;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::queue::{Failed, Queue};
use super::bitcoind::Bitcoind;
use super::error::ChainError;

pub use self::submission::{Submission, parents_first};

/// While bitcoind is away: pause before the next try, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// At the node's end: time for what still waits.
const LAST_CALL: Duration = Duration::from_secs(5);

/// How often the log says that bitcoind's settings keep transactions from it.
const WARNING_INTERVAL: Duration = Duration::from_secs(600);

/// bitcoind's code for a transaction that is in a block (`RPC_VERIFY_ALREADY_IN_UTXO_SET`).
const CODE_ALREADY_IN_CHAIN: i64 = -27;

/// Takes transactions from LDK and the wallet without waiting, and sends them in a task.
pub struct Broadcaster {
    bitcoind: Arc<Bitcoind>,
    waiting: Mutex<Queue>,
    arrived: Notify,
    last_warning: Mutex<Option<Instant>>,
}

impl Broadcaster {
    /// A broadcaster with an empty queue; [`run`](Self::run) empties it.
    pub fn new(bitcoind: Arc<Bitcoind>) -> Self {
        Self {
            bitcoind,
            waiting: Mutex::default(),
            arrived: Notify::new(),
            last_warning: Mutex::default(),
        }
    }

    /// Queues a submission, unless one that waits makes it needless.
    pub fn submit(&self, submission: Submission) {
        if self.queue().add(submission) {
            self.arrived.notify_one();
        }
    }

    /// Sends what is queued until `stop` is cancelled.
    ///
    /// While bitcoind is away everything waits. A submission that fails for another reason waits
    /// behind all others and is tried again after growing pauses; one that bitcoind has refused
    /// several times is given up.
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
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = send => {}
        }
    }

    /// Sends what can be sent within five seconds. For the node's end, after [`run`](Self::run).
    pub async fn finish(&self) {
        let _ = tokio::time::timeout(LAST_CALL, self.send_due()).await;
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

    /// Sends all that is due; says when the next one will be.
    ///
    /// # Errors
    /// If bitcoind is away.
    async fn send_due(&self) -> Result<Option<Instant>, ChainError> {
        loop {
            let next = self.queue().next(Instant::now());
            let Some(submission) = next else {
                return Ok(self.queue().next_due());
            };
            match self.publish(submission.transactions()).await {
                Ok(()) => {
                    tracing::debug!(txids = ?submission.txids(), "broadcast");
                    self.queue().sent(&submission);
                }
                Err(error) if error.is_absence() => {
                    tracing::debug!(%error, "transactions wait for bitcoind");
                    return Err(error);
                }
                Err(error) => self.failed(&submission, &error),
            }
        }
    }

    fn failed(&self, submission: &Submission, error: &ChainError) {
        if error.is_configuration() {
            self.warn(error);
        }
        let failed = self
            .queue()
            .failed(submission, error.is_refusal(), Instant::now());
        let txids = submission.txids();
        // LDK often sends claims that a peer's claim has already beaten: no alarm.
        if failed == (Failed::Kept { tries: 1 }) {
            tracing::info!(?txids, %error, "transaction not accepted");
        } else {
            tracing::debug!(?txids, %error, ?failed, "transaction not accepted again");
        }
    }

    /// Says now and then that the owner has to change a setting of bitcoind.
    fn warn(&self, error: &ChainError) {
        let mut last = self
            .last_warning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!("transactions do not reach the network as they should: {error}");
        }
    }

    /// Fails if bitcoind does not answer now: nothing could be sent.
    ///
    /// # Errors
    /// What [`Bitcoind::chain_info`] says.
    pub async fn check_reachable(&self) -> Result<(), ChainError> {
        self.bitcoind.chain_info().await.map(drop)
    }

    /// Submits `transactions` now: a single one, or parents and their child in any order.
    ///
    /// A transaction that bitcoind already has, in its mempool or in a block, counts as sent.
    ///
    /// # Errors
    /// [`ChainError::Rpc`] with bitcoind's reason if it refuses; other errors if it is away.
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

    /// A package may fail as a whole because a parent is in a block, the parents depend on each
    /// other, or bitcoind does not let us submit packages. Then each transaction is tried alone;
    /// what counts is whether the child got in.
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
            "package refused, trying its transactions one by one"
        );
        let mut last = Ok(());
        for tx in txs {
            last = self.publish_one(tx).await;
            match &last {
                Err(error) if error.is_absence() => return last,
                Err(error) => tracing::debug!(txid = %tx.compute_txid(), %error, "refused"),
                Ok(()) => {}
            }
        }
        match last {
            Err(ChainError::Rpc {
                method,
                code,
                message,
            }) => {
                let message = format!("{message}; as a package: {reason}");
                Err(ChainError::Rpc {
                    method,
                    code,
                    message,
                })
            }
            other => other,
        }
    }

    /// No code that holds this lock can panic halfway through a change.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        let transactions = txs.iter().map(|&tx| tx.clone()).collect();
        self.submit(Submission::new(transactions));
    }
}

/// Whether a refusal only says that bitcoind has the transaction already.
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

/// Why `submitpackage` did not take all transactions, or `None` if it did.
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
            message.unwrap_or("refused"),
            errors.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::test_data::transaction;
    use super::*;
    use crate::chain::test_server::{Reply, TestServer};

    #[test]
    fn a_package_answer_is_read_as_sent_or_refused() {
        let sent = json!({"package_msg": "success", "tx-results": {"w": {"txid": "t"}}});
        assert_eq!(refusal_of_package(&sent), None);
        let old = json!({"tx-results": {"w": {"txid": "t", "vsize": 100}}});
        assert_eq!(refusal_of_package(&old), None);
        let refused = json!({
            "package_msg": "transaction failed",
            "tx-results": {"w": {"error": "min relay fee not met"}},
        });
        let reason = refusal_of_package(&refused).unwrap();
        assert!(reason.contains("transaction failed") && reason.contains("min relay fee not met"));
    }

    #[test]
    fn a_transaction_that_bitcoind_has_counts_as_sent() {
        assert!(is_known(-27, "Transaction outputs already in utxo set"));
        assert!(is_known(-26, "txn-already-known"));
        assert!(!is_known(-26, "min relay fee not met, 0 < 110"));
        assert!(!is_known(-25, "bad-txns-inputs-missingorspent"));
    }

    #[tokio::test]
    async fn one_transaction_is_sent_alone_and_several_as_a_package() {
        let answer = json!({"package_msg": "success", "tx-results": {}});
        let server = TestServer::start(vec![Reply::result(json!("txid")), Reply::result(answer)]);
        let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
        let parent = transaction(&[], 1);
        let child = transaction(&[&parent], 2);
        broadcaster
            .publish(std::slice::from_ref(&parent))
            .await
            .unwrap();
        broadcaster.publish(&[child, parent]).await.unwrap();
        assert_eq!(server.methods(), ["sendrawtransaction", "submitpackage"]);
    }

    #[tokio::test]
    async fn a_refused_package_is_tried_one_by_one_and_the_childs_fate_counts() {
        let refused = json!({"package_msg": "package-mempool-limits", "tx-results": {}});
        let server = TestServer::start(vec![
            Reply::result(refused),
            Reply::error(-27, "Transaction outputs already in utxo set"),
            Reply::result(json!("txid")),
        ]);
        let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
        let parent = transaction(&[], 1);
        broadcaster
            .publish(&[transaction(&[&parent], 2), parent])
            .await
            .unwrap();
        let methods = ["submitpackage", "sendrawtransaction", "sendrawtransaction"];
        assert_eq!(server.methods(), methods);
    }

    #[tokio::test]
    async fn what_an_absent_bitcoind_could_not_take_waits_and_is_sent_once() {
        let server = TestServer::start(vec![
            Reply::error(-28, "Loading block index…"),
            Reply::result(json!("txid")),
        ]);
        let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
        let one = transaction(&[], 1);
        broadcaster.broadcast_transactions(&[&one]);
        broadcaster.broadcast_transactions(&[&one]);
        assert!(broadcaster.send_due().await.is_err());
        assert_eq!(broadcaster.queue().len(), 1, "merged, and kept");
        assert_eq!(broadcaster.send_due().await.unwrap(), None);
        assert_eq!(broadcaster.queue().len(), 0);
        assert_eq!(server.methods().len(), 2);
    }

    #[tokio::test]
    async fn a_submission_that_fails_does_not_hold_up_the_next_one() {
        for failure in [
            Reply::empty("403 Forbidden"),
            Reply::empty("503 Service Unavailable"),
            Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec()),
            Reply::error(-26, "min relay fee not met"),
            Reply::error(-32601, "Method not found"),
        ] {
            let server = TestServer::by_method(move |method| match method {
                "submitpackage" => failure.clone(),
                _ => Reply::result(json!("txid")),
            });
            let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
            let parent = transaction(&[], 1);
            let child = transaction(&[&parent], 2);
            let other = transaction(&[&transaction(&[], 3)], 3);
            broadcaster.broadcast_transactions(&[&parent, &child]);
            broadcaster.broadcast_transactions(&[&other]);
            assert_eq!(broadcaster.send_due().await.unwrap(), None);
            let sent = server.methods();
            let single = sent.iter().filter(|method| *method == "sendrawtransaction");
            assert_eq!(single.count(), 3, "{sent:?}");
        }
    }

    #[tokio::test]
    async fn a_refused_transaction_is_tried_again_later() {
        let server = TestServer::start(vec![
            Reply::error(-25, "bad-txns-inputs-missingorspent"),
            Reply::result(json!("txid")),
        ]);
        let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
        broadcaster.broadcast_transactions(&[&transaction(&[], 1)]);
        while let Some(due) = broadcaster.send_due().await.unwrap() {
            broadcaster.until_arrival(Some(due)).await;
        }
        assert_eq!(server.methods().len(), 2);
    }
}
