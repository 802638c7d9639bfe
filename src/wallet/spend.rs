//! Spending: sends, channel fundings, what becomes of a transaction that was not used.

use bitcoin::{Amount, FeeRate, OutPoint, Psbt, ScriptBuf, Transaction, TxOut, Txid};

use super::error::WalletError;
use super::log::Record;
use super::on_chain::{State, Wallet};

/// What to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Exactly these; fees come on top.
    Exactly(Vec<TxOut>),
    /// All that there is, less fees and reserve, to this script.
    All(ScriptBuf),
}

impl Outputs {
    /// Exactly one output.
    pub fn one(script_pubkey: ScriptBuf, value: Amount) -> Self {
        Self::Exactly(vec![TxOut {
            value,
            script_pubkey,
        }])
    }
}

/// An order to pay.
#[derive(Clone, Debug)]
pub struct Spend {
    pub outputs: Outputs,
    /// What to pay for it; see [`bitcoin::FeeRate::from_sat_per_kwu`].
    pub fee_rate: FeeRate,
    /// Confirmations that a coin must have to be spent (lnd's default: 1). With 0 the change of
    /// our own unconfirmed transactions is spent, too.
    pub min_confs: u32,
    /// What has to be left in the wallet; see [`anchor_reserve`](super::anchor_reserve).
    pub reserve: Amount,
    /// Spend these and no others; empty: the wallet chooses.
    pub coins: Vec<OutPoint>,
}

/// What a payment would cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub fee: Amount,
    /// What it would spend.
    pub coins: Vec<OutPoint>,
}

/// Why the wallet has a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The owner's payment.
    Payment,
    /// A channel's funding: only LDK may send it.
    Funding,
    /// Others made it.
    Seen,
}

impl Wallet {
    /// Makes and signs a transaction, and notes it, so that its coins are not spent twice.
    ///
    /// The change is in the log when this returns; the caller broadcasts, and calls
    /// [`cancel`](Self::cancel) if bitcoind refuses.
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

    /// What [`send`](Self::send) would pay as a fee, and spend. Nothing is kept of it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
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

    /// The same for a channel's funding output. All inputs are SegWit, so the txid is final.
    ///
    /// Nobody but LDK may send this transaction, and LDK does so only when the peer has signed
    /// the commitment: broadcast earlier, its money would be lost. So it is *held*:
    /// [`to_rebroadcast`](Self::to_rebroadcast) leaves it out until [`release`](Self::release).
    ///
    /// # Errors
    /// As [`send`](Self::send), with [`WalletError::InsufficientFunding`] instead of
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

    /// Frees the coins of a transaction that will not be used (refused by bitcoind, or a funding
    /// that LDK discarded).
    ///
    /// # Errors
    /// [`WalletError::NotPending`] if it is confirmed, cancelled or unknown;
    /// [`WalletError::ChangeSpent`] if a later transaction of ours builds on it.
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

    /// LDK has broadcast this funding transaction (`Event::ChannelPending`): from now on the
    /// wallet may send it again after a restart. Does nothing for other transactions.
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

    /// Unconfirmed funding transactions that LDK has not broadcast. At start the caller cancels
    /// those that no channel of LDK's knows: the node stopped between the two.
    pub fn held(&self) -> Vec<Txid> {
        let state = self.lock();
        let txids = state.pending().map(|tx| tx.compute_txid());
        txids.filter(|txid| state.held.contains(txid)).collect()
    }

    /// Our unconfirmed transactions, for the broadcaster at start: bitcoind may have forgotten
    /// them, or may never have had them. Held ones are left out.
    pub fn to_rebroadcast(&self) -> Vec<Transaction> {
        let state = self.lock();
        let free = |tx: &Transaction| !state.held.contains(&tx.compute_txid());
        state.pending().filter(free).collect()
    }

    /// Notes a transaction that somebody else made and sent, if it pays to us or spends from us, so
    /// that the balance shows it before its block. Not for LDK's fee bumps: it replaces those itself.
    pub fn note_unconfirmed(&self, tx: &Transaction) -> Result<(), WalletError> {
        let mut state = self.lock();
        self.note(&mut state, tx, Purpose::Seen)
    }

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

    /// Signs our inputs and returns the transaction; inputs of others stay as they are.
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
