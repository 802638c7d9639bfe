//! What API clients can do with on-chain funds beyond the wallet itself: changes that are on disk when
//! the call returns, and transactions that are broadcast.

use std::sync::Arc;

use bitcoin::{Transaction, Txid};
use lightning::chain::chaininterface::BroadcasterInterface;
use tokio::sync::watch;
use tokio::task::JoinError;

use super::error::WalletError;
use super::on_chain::Wallet;
use crate::chain::{Broadcaster, ChainError};
use crate::storage::{Health, Store};

/// The reason why funds were not changed or sent.
#[derive(Debug, thiserror::Error)]
pub enum FundsError {
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error("the database is not writable ({0}); the change is not saved")]
    NotSaved(String),
    #[error("nothing was sent: {0}")]
    Unreachable(#[source] ChainError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(
        "transaction {txid} may have been sent and will be rebroadcast until it confirms: check the \
         wallet's transactions before you pay again ({error})"
    )]
    Unknown { txid: Txid, error: ChainError },
    #[error("the payment failed: {0}")]
    Panicked(JoinError),
}

/// The wallet, where its changes are stored, and bitcoind.
#[derive(Clone)]
pub struct Funds {
    wallet: Arc<Wallet>,
    store: Arc<Store>,
    broadcaster: Arc<Broadcaster>,
}

impl Funds {
    pub fn new(wallet: Arc<Wallet>, store: Arc<Store>, broadcaster: Arc<Broadcaster>) -> Self {
        Self {
            wallet,
            store,
            broadcaster,
        }
    }

    /// Runs `note`, which changes the wallet's records, and waits until the change is committed.
    ///
    /// # Errors
    /// Those of `note`. [`FundsError::NotSaved`] while the database is not writable: `note` does not run
    /// then. The same error if writing fails after `note` ran: the change is in effect, but a crash can
    /// undo it.
    pub async fn save<T>(
        &self,
        note: impl FnOnce(&Wallet) -> Result<T, WalletError>,
    ) -> Result<T, FundsError> {
        on_disk(&self.store, || note(&self.wallet)).await
    }

    /// Creates, signs and broadcasts a transaction. It completes even if the caller gives up: otherwise
    /// the wallet would build on a transaction that was never broadcast.
    ///
    /// If bitcoind is unreachable, no transaction is created and no coins are spent.
    ///
    /// # Errors
    /// [`FundsError`] with the reason. After [`FundsError::Unknown`], the payment stands.
    pub async fn send(
        &self,
        label: String,
        make: impl FnOnce(&Wallet) -> Result<Transaction, WalletError> + Send + 'static,
    ) -> Result<Txid, FundsError> {
        let funds = self.clone();
        let sent = tokio::spawn(async move {
            let reachable = funds.broadcaster.check_reachable().await;
            reachable.map_err(FundsError::Unreachable)?;
            let transaction = funds.make_and_save(make).await?;
            funds.publish_own(&transaction, &label).await?;
            Ok(transaction.compute_txid())
        });
        sent.await
            .unwrap_or_else(|error| Err(FundsError::Panicked(error)))
    }

    /// Broadcasts a transaction from elsewhere. One that involves the wallet is added to it, with the
    /// label, and rebroadcast until it confirms.
    ///
    /// # Errors
    /// [`FundsError`] with the reason.
    pub async fn publish(&self, transaction: &Transaction, label: &str) -> Result<(), FundsError> {
        let all = std::slice::from_ref(transaction);
        self.broadcaster.publish(all).await?;
        self.wallet.note_unconfirmed(transaction)?;
        let txid = transaction.compute_txid();
        if self.wallet.transaction(txid).is_some() {
            self.wallet.label(txid, label, true)?;
        }
        Ok(())
    }

    /// Creates a transaction and returns it once it is on disk: a wallet that lost it in a crash would
    /// spend its coins again.
    async fn make_and_save(
        &self,
        make: impl FnOnce(&Wallet) -> Result<Transaction, WalletError>,
    ) -> Result<Transaction, FundsError> {
        let mut made = None;
        let saved = self.save(|wallet| {
            let transaction = make(wallet)?;
            made = Some(transaction.compute_txid());
            Ok(transaction)
        });
        let saved = saved.await;
        if let (Err(_), Some(txid)) = (&saved, made) {
            self.free_coins(txid);
        }
        saved
    }

    fn free_coins(&self, txid: Txid) {
        if let Err(kept) = self.wallet.cancel(txid) {
            tracing::error!(%txid, %kept, "cannot release the coins of an unsent payment");
        }
    }

    async fn publish_own(&self, transaction: &Transaction, label: &str) -> Result<(), FundsError> {
        let txid = transaction.compute_txid();
        let published = self.broadcaster.publish(std::slice::from_ref(transaction));
        let answer = match published.await {
            Ok(()) => Ok(()),
            Err(error) if error.is_refusal() => {
                self.free_coins(txid);
                return Err(error.into());
            }
            Err(error) => {
                // bitcoind was reachable before and may or may not have the transaction. Releasing its
                // coins could make the client pay twice, so the payment stands.
                tracing::warn!(%txid, %error, "cannot reach bitcoind; the payment will be rebroadcast");
                self.broadcaster.broadcast_transactions(&[transaction]);
                Err(FundsError::Unknown { txid, error })
            }
        };
        // The transaction was just created, so the label can only be lost along with it.
        if let Err(error) = self.wallet.label(txid, label, true) {
            tracing::warn!(%txid, %error, "cannot label the payment");
        }
        answer
    }
}

async fn on_disk<T>(
    store: &Store,
    note: impl FnOnce() -> Result<T, WalletError>,
) -> Result<T, FundsError> {
    let mut health = store.health();
    if let Health::Failing(why) = &*health.borrow() {
        return Err(FundsError::NotSaved(why.clone()));
    }
    let noted = note()?;
    let ticket = store.submit(Vec::new());
    tokio::select! {
        biased;
        () = store.durable(ticket) => Ok(noted),
        why = failure(&mut health) => Err(FundsError::NotSaved(why)),
    }
}

async fn failure(health: &mut watch::Receiver<Health>) -> String {
    match health
        .wait_for(|now| *now != Health::Writing)
        .await
        .as_deref()
    {
        Ok(Health::Failing(why)) => why.clone(),
        _ => "the database is closed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;
    use crate::storage::wallet_notes::PutLabel;

    #[tokio::test]
    async fn on_disk_returns_after_the_commit() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let txid = Txid::all_zeros();
        let noted = on_disk(&store, || {
            let label = "tea".to_owned();
            store.submit(PutLabel { txid, label });
            Ok(5)
        });
        assert_eq!(noted.await.unwrap(), 5);
        assert_eq!(store.wallet_labels().unwrap().len(), 1);
        let refused = on_disk::<()>(&store, || Err(WalletError::UnknownCoin));
        assert_eq!(refused.await.unwrap_err().to_string(), "unknown output");
    }
}
