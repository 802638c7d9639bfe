//! Spending: payments, channel fundings, and cancelling unused transactions.

use bitcoin::{Amount, FeeRate, OutPoint, Psbt, ScriptBuf, Transaction, TxOut, Txid};

use super::error::WalletError;
use super::log::Record;
use super::on_chain::Wallet;
use super::state::State;

/// The outputs of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Exactly these outputs; fees are added.
    Exactly(Vec<TxOut>),
    /// All coins, less fees and reserve, to this script.
    All(ScriptBuf),
}

impl Outputs {
    /// A single output.
    pub fn one(script_pubkey: ScriptBuf, value: Amount) -> Self {
        Self::Exactly(vec![TxOut {
            value,
            script_pubkey,
        }])
    }
}

/// A request for a payment.
#[derive(Clone, Debug)]
pub struct Spend {
    /// The outputs to pay.
    pub outputs: Outputs,
    /// The fee rate; see [`bitcoin::FeeRate::from_sat_per_kwu`].
    pub fee_rate: FeeRate,
    /// Minimum number of confirmations of the coins (lnd's default: 1). With 0, unconfirmed outputs of the
    /// wallet, such as change, are spent as well.
    pub min_confs: u32,
    /// The amount that must be left in the wallet; see [`anchor_reserve`](super::anchor_reserve).
    pub reserve: Amount,
    /// The coins to spend, exclusively; if empty, the wallet selects coins.
    pub coins: Vec<OutPoint>,
}

/// The estimated cost of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The fee.
    pub fee: Amount,
    /// The coins that it would spend.
    pub coins: Vec<OutPoint>,
}

/// Why the wallet records a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A payment of the user.
    Payment,
    /// A channel's funding, which only LDK may broadcast.
    Funding,
    /// A transaction created elsewhere.
    Seen,
}

impl Wallet {
    /// Creates, signs and records a transaction, so that its coins are not spent twice.
    ///
    /// The record is in the log when this returns. The caller broadcasts the transaction, and calls
    /// [`cancel`](Self::cancel) if bitcoind rejects it.
    ///
    /// # Errors
    /// [`WalletError::InsufficientFunds`], [`WalletError::Reserve`], [`WalletError::Dust`],
    /// [`WalletError::FeeRate`].
    pub fn send(&self, spend: &Spend) -> Result<Transaction, WalletError> {
        let mut state = self.lock();
        let tx = self.build(&mut state, spend)?;
        self.note(&mut state, &tx, Purpose::Payment)?;
        Ok(tx)
    }

    /// Returns the fee that [`send`](Self::send) would pay and the coins that it would spend. Records
    /// nothing.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn estimate(&self, spend: &Spend) -> Result<Estimate, WalletError> {
        let mut state = self.lock();
        let psbt = state.prepare(spend, |_| {})?;
        state.forget_change(&psbt);
        self.save(&mut state)?;
        let inputs = psbt.unsigned_tx.input.iter();
        Ok(Estimate {
            fee: psbt
                .fee()
                .map_err(|e| WalletError::Internal(e.to_string()))?,
            coins: inputs.map(|input| input.previous_output).collect(),
        })
    }

    /// Creates, signs and records the funding transaction of a channel. All inputs are SegWit, so its txid is
    /// final.
    ///
    /// Only LDK may broadcast this transaction, after the peer has signed the commitment: if it were
    /// broadcast earlier, its funds could be lost. So it is *held*: [`to_rebroadcast`](Self::to_rebroadcast)
    /// excludes it until [`release`](Self::release).
    ///
    /// # Errors
    /// Those of [`send`](Self::send), with [`WalletError::InsufficientFunding`] instead of
    /// [`WalletError::InsufficientFunds`].
    pub fn fund(&self, spend: &Spend) -> Result<Transaction, WalletError> {
        let mut state = self.lock();
        let tx = self.build(&mut state, spend).map_err(|error| match error {
            WalletError::InsufficientFunds { have, need } => {
                WalletError::InsufficientFunding { have, need }
            }
            other => other,
        })?;
        self.note(&mut state, &tx, Purpose::Funding)?;
        Ok(tx)
    }

    /// Frees the coins of a transaction that is not going to be used: one that bitcoind rejected, or a
    /// funding that LDK discarded.
    ///
    /// # Errors
    /// [`WalletError::NotPending`] if it is confirmed, cancelled or unknown;
    /// [`WalletError::ChangeSpent`] if a later transaction of ours spends its change.
    pub fn cancel(&self, txid: Txid) -> Result<(), WalletError> {
        let mut state = self.lock();
        if !state.pending().any(|tx| tx.compute_txid() == txid) {
            return Err(WalletError::NotPending(txid));
        }
        if state
            .pending()
            .any(|tx| tx.input.iter().any(|i| i.previous_output.txid == txid))
        {
            return Err(WalletError::ChangeSpent(txid));
        }
        let time = state.next_time();
        state.bdk.apply_evicted_txs([(txid, time)]);
        self.set_free(&mut state, txid)
    }

    /// Allows the wallet to rebroadcast a funding transaction, once LDK has broadcast it
    /// (`Event::ChannelPending`). Does nothing for other transactions.
    pub fn release(&self, txid: Txid) -> Result<(), WalletError> {
        let mut state = self.lock();
        self.set_free(&mut state, txid)
    }

    fn set_free(&self, state: &mut State, txid: Txid) -> Result<(), WalletError> {
        let mut record = Record::default();
        if state.held.remove(&txid) {
            record.held.insert(txid, false);
        }
        self.save_with(state, record)
    }

    /// Unconfirmed funding transactions that LDK has not broadcast. At startup the caller cancels those that
    /// belong to no channel, because the node stopped before LDK recorded them.
    pub fn held(&self) -> Vec<Txid> {
        let state = self.lock();
        let txids = state.pending().map(|tx| tx.compute_txid());
        txids.filter(|txid| state.held.contains(txid)).collect()
    }

    /// Our unconfirmed transactions except for held ones. bitcoind may have dropped or never received them.
    pub fn to_rebroadcast(&self) -> Vec<Transaction> {
        let state = self.lock();
        let free = |tx: &Transaction| !state.held.contains(&tx.compute_txid());
        state.pending().filter(free).collect()
    }

    /// Records a transaction that was created and broadcast elsewhere, if it pays to us or spends our coins,
    /// so that the balance includes it before it confirms. Not for LDK's fee bumps, which LDK replaces
    /// itself.
    pub fn note_unconfirmed(&self, tx: &Transaction) -> Result<(), WalletError> {
        let mut state = self.lock();
        self.note(&mut state, tx, Purpose::Seen)
    }

    /// Records an unconfirmed transaction and its purpose.
    pub(super) fn note(
        &self,
        state: &mut State,
        tx: &Transaction,
        purpose: Purpose,
    ) -> Result<(), WalletError> {
        let (txid, time) = (tx.compute_txid(), state.next_time());
        state.bdk.apply_unconfirmed_txs([(tx.clone(), time)]);
        let mut record = Record::default();
        match purpose {
            Purpose::Payment => {
                state.sent.insert(txid);
                record.sent.insert(txid);
            }
            Purpose::Funding => {
                state.held.insert(txid);
                record.held.insert(txid, true);
            }
            Purpose::Seen => {}
        }
        self.save_with(state, record)
    }

    fn build(&self, state: &mut State, spend: &Spend) -> Result<Transaction, WalletError> {
        let psbt = state.prepare(spend, |_| {})?;
        self.sign_own(state, psbt)
    }

    /// Signs our inputs and returns the transaction. Other inputs are not changed.
    pub(super) fn sign_own(
        &self,
        state: &State,
        mut psbt: Psbt,
    ) -> Result<Transaction, WalletError> {
        self.sign_and_finalize(state, &mut psbt)?;
        Ok(psbt.extract_tx_unchecked_fee_rate())
    }
}

#[cfg(test)]
mod tests;
