//! Brings transactions to bitcoind: one by one, or as a package of parents and child.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::{Transaction, Txid};
use lightning::chain::chaininterface::BroadcasterInterface;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::bitcoind::Bitcoind;
use super::error::ChainError;

/// Submissions that may wait for a bitcoind that is away. LDK hands the same claims over again
/// with every block, and equal submissions are merged, so this is several times the number of
/// channels of a large node. When it is full the oldest goes: LDK and the wallet bring it again.
const MAX_WAITING: usize = 2_000;

/// Pause before the first retry, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// At the node's end: time for what still waits.
const LAST_CALL: Duration = Duration::from_secs(5);

/// bitcoind's code for a transaction that is in a block (`RPC_VERIFY_ALREADY_IN_UTXO_SET`).
const CODE_ALREADY_IN_CHAIN: i64 = -27;

/// Takes transactions from LDK and the wallet without waiting, and sends them in a task.
pub struct Broadcaster {
    bitcoind: Arc<Bitcoind>,
    waiting: Mutex<VecDeque<Vec<Transaction>>>,
    arrived: Notify,
}

impl Broadcaster {
    /// A broadcaster with an empty queue; [`run`](Self::run) empties it.
    pub fn new(bitcoind: Arc<Bitcoind>) -> Self {
        Self {
            bitcoind,
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Sends what is queued until `stop` is cancelled, then what can be sent in five seconds.
    ///
    /// What bitcoind refuses is logged and dropped; what it cannot judge now (it is away, starts,
    /// or is busy) stays in the queue.
    pub async fn run(&self, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let emptied = tokio::select! {
                emptied = self.send_waiting() => emptied,
                () = stop.cancelled() => break,
            };
            let wait = async {
                match emptied {
                    Ok(()) => self.arrived.notified().await,
                    Err(_) => tokio::time::sleep(pause).await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = stop.cancelled() => break,
            }
            pause = match emptied {
                Ok(()) => FIRST_PAUSE,
                Err(_) => (pause * 2).min(LONGEST_PAUSE),
            };
        }
        let _ = tokio::time::timeout(LAST_CALL, self.send_waiting()).await;
    }

    /// Sends the queue's head until the queue is empty or bitcoind is away.
    async fn send_waiting(&self) -> Result<(), ChainError> {
        while let Some(txs) = self.head() {
            match self.publish(&txs).await {
                Err(error) if !error.is_refusal() => {
                    tracing::debug!(%error, "transactions wait for bitcoind");
                    return Err(error);
                }
                outcome => log_outcome(&txs, &outcome),
            }
            self.remove(&txs);
        }
        Ok(())
    }

    /// Submits `txs` now: a single transaction, or parents and their child in any order.
    ///
    /// A transaction that bitcoind already has, in its mempool or in a block, counts as sent.
    ///
    /// # Errors
    /// [`ChainError::Rpc`] with bitcoind's reason if it refuses; other errors if it is away.
    pub async fn publish(&self, txs: &[Transaction]) -> Result<(), ChainError> {
        match txs {
            [] => Ok(()),
            [tx] => self.publish_one(tx).await,
            _ => self.publish_package(&parents_first(txs)).await,
        }
    }

    async fn publish_one(&self, tx: &Transaction) -> Result<(), ChainError> {
        match self.bitcoind.send_raw_transaction(tx).await {
            Err(ChainError::Rpc { code, message, .. }) if is_known(code, &message) => Ok(()),
            sent => sent,
        }
    }

    /// A package may fail as a whole because a parent is in a block or the parents depend on each
    /// other. Then each transaction is tried alone; what counts is whether the child got in.
    async fn publish_package(&self, txs: &[Transaction]) -> Result<(), ChainError> {
        let reason = match self.bitcoind.submit_package(txs).await {
            Ok(answer) => match refusal_of_package(&answer) {
                None => return Ok(()),
                Some(reason) => reason,
            },
            Err(ChainError::Rpc { message, .. }) => message,
            Err(error) => return Err(error),
        };
        tracing::debug!(
            reason,
            "package refused, trying its transactions one by one"
        );
        let mut last = Ok(());
        for tx in txs {
            last = self.publish_one(tx).await;
            match &last {
                Err(error) if !error.is_refusal() => return last,
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

    fn queue(&self) -> MutexGuard<'_, VecDeque<Vec<Transaction>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head(&self) -> Option<Vec<Transaction>> {
        self.queue().front().cloned()
    }

    /// Takes `txs` out; meanwhile a full queue may have dropped it from the front.
    fn remove(&self, txs: &[Transaction]) {
        let mut queue = self.queue();
        if let Some(at) = queue.iter().position(|waiting| waiting == txs) {
            queue.remove(at);
        }
    }

    /// Queues one submission, unless the same one waits already.
    fn enqueue(&self, txs: Vec<Transaction>) {
        let mut queue = self.queue();
        if txs.is_empty() || queue.contains(&txs) {
            return;
        }
        if queue.len() >= MAX_WAITING
            && let Some(oldest) = queue.pop_front()
        {
            tracing::error!(txids = ?txids(&oldest), "broadcast queue full, dropped its oldest");
        }
        queue.push_back(txs);
        self.arrived.notify_one();
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        self.enqueue(txs.iter().map(|&tx| tx.clone()).collect());
    }
}

fn log_outcome(txs: &[Transaction], outcome: &Result<(), ChainError>) {
    let txids = txids(txs);
    match outcome {
        Ok(()) => tracing::debug!(?txids, "broadcast"),
        // LDK often sends claims that a peer's claim has already beaten: no alarm.
        Err(error) => tracing::info!(?txids, %error, "transaction not accepted"),
    }
}

fn txids(txs: &[Transaction]) -> Vec<Txid> {
    txs.iter().map(Transaction::compute_txid).collect()
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

/// Orders `txs` so that every transaction comes after those whose outputs it spends.
fn parents_first(txs: &[Transaction]) -> Vec<Transaction> {
    let mut rest: Vec<(Txid, &Transaction)> =
        txs.iter().map(|tx| (tx.compute_txid(), tx)).collect();
    let mut ordered = Vec::with_capacity(txs.len());
    while !rest.is_empty() {
        let open: HashSet<Txid> = rest.iter().map(|(txid, _)| *txid).collect();
        let spends_open = |tx: &Transaction| {
            tx.input
                .iter()
                .any(|i| open.contains(&i.previous_output.txid))
        };
        // Hashes cannot form a ring, so there is always one that spends none of the rest.
        let next = rest
            .iter()
            .position(|(_, tx)| !spends_open(tx))
            .unwrap_or(0);
        ordered.push(rest.remove(next).1.clone());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use bitcoin::{Amount, OutPoint, ScriptBuf, TxIn, TxOut, absolute, transaction};
    use serde_json::json;

    use super::*;
    use crate::chain::test_server::{Reply, TestServer};

    fn tx(parents: &[&Transaction], sat: u64) -> Transaction {
        let input = parents
            .iter()
            .map(|parent| TxIn {
                previous_output: OutPoint::new(parent.compute_txid(), 0),
                ..TxIn::default()
            })
            .collect();
        let output = TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: ScriptBuf::new(),
        };
        let (version, lock_time) = (transaction::Version::TWO, absolute::LockTime::ZERO);
        Transaction {
            version,
            lock_time,
            input,
            output: vec![output],
        }
    }

    #[test]
    fn parents_come_before_their_child_in_whatever_order_they_are_given() {
        let a = tx(&[], 1);
        let b = tx(&[&a], 2);
        let child = tx(&[&a, &b], 3);
        let right = vec![a.clone(), b.clone(), child.clone()];
        for given in [
            [&child, &b, &a],
            [&b, &child, &a],
            [&a, &b, &child],
            [&child, &a, &b],
        ] {
            assert_eq!(parents_first(&given.map(Clone::clone)), right);
        }
    }

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
        let parent = tx(&[], 1);
        let child = tx(&[&parent], 2);
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
        let parent = tx(&[], 1);
        broadcaster
            .publish(&[tx(&[&parent], 2), parent])
            .await
            .unwrap();
        let methods = ["submitpackage", "sendrawtransaction", "sendrawtransaction"];
        assert_eq!(server.methods(), methods);
    }

    #[tokio::test]
    async fn what_an_absent_bitcoind_could_not_take_stays_queued_and_a_refusal_does_not() {
        let server = TestServer::start(vec![
            Reply::error(-28, "Loading block index…"),
            Reply::error(-26, "min relay fee not met"),
        ]);
        let broadcaster = Broadcaster::new(Arc::new(server.bitcoind()));
        let one = tx(&[], 1);
        broadcaster.broadcast_transactions(&[&one]);
        broadcaster.broadcast_transactions(&[&one]);
        assert!(broadcaster.send_waiting().await.is_err());
        assert_eq!(broadcaster.queue().len(), 1, "merged, and kept");
        broadcaster.send_waiting().await.unwrap();
        assert!(broadcaster.queue().is_empty());
    }

    #[test]
    fn a_full_queue_drops_its_oldest() {
        let server = crate::chain::test_server::unreachable_bitcoind();
        let broadcaster = Broadcaster::new(Arc::new(server));
        for sat in 0..=MAX_WAITING as u64 {
            broadcaster.broadcast_transactions(&[&tx(&[], sat)]);
        }
        assert_eq!(broadcaster.queue().len(), MAX_WAITING);
        assert_eq!(
            broadcaster.head().unwrap()[0].output[0].value,
            Amount::from_sat(1)
        );
    }
}
