//! Spending: sends, channel fundings, what becomes of a transaction that was not used.

use bdk_wallet::error::CreateTxError;
use bdk_wallet::{KeychainKind, TxOrdering};
use bitcoin::{Amount, FeeRate, OutPoint, Psbt, ScriptBuf, Transaction, TxOut, Txid};

use super::error::WalletError;
use super::on_chain::{State, Wallet};

/// What stays in the wallet per anchor channel, so that the fee of its closing can be raised
/// (lnd: 10,000 sat).
pub const ANCHOR_RESERVE_SAT: u64 = 10_000;

/// Channels beyond this number need no further reserve (lnd: at most 100,000 sat in all): not all
/// are closed by force at once.
const MAX_RESERVED_CHANNELS: u64 = 10;

/// Lowest fee rate, in sat per 1000 weight units: 1 sat/vB, below which few nodes relay.
const MIN_FEE_RATE: u64 = 250;

/// Highest fee rate, in sat per 1000 weight units: 5000 sat/vB, more than any block ever needed.
const MAX_FEE_RATE: u64 = 1_250_000;

/// Blocks after which a coin that LDK used for a fee bump, and has not used again, is free.
const CLAIM_BLOCKS: u32 = 144;

/// The reserve for `channels` anchor channels, one that is about to be opened included.
pub fn anchor_reserve(channels: usize) -> Amount {
    let channels = u64::try_from(channels)
        .unwrap_or(u64::MAX)
        .min(MAX_RESERVED_CHANNELS);
    Amount::from_sat(channels * ANCHOR_RESERVE_SAT)
}

/// How much to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAmount {
    /// Exactly this; fees come on top.
    Exactly(Amount),
    /// All that there is, less fees and reserve.
    All,
}

/// An order to pay.
#[derive(Clone, Debug)]
pub struct Spend {
    /// The output's script.
    pub to: ScriptBuf,
    /// The output's amount.
    pub amount: SendAmount,
    /// What to pay for it; see [`bitcoin::FeeRate::from_sat_per_kwu`].
    pub fee_rate: FeeRate,
    /// Confirmations that a coin must have to be spent (lnd's default: 1). With 0 the change of
    /// our own unconfirmed transactions is spent, too.
    pub min_confs: u32,
    /// What has to be left in the wallet; see [`anchor_reserve`].
    pub reserve: Amount,
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
        self.note(&mut state, &tx, None)?;
        Ok(tx)
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
        self.note(&mut state, &tx, Some(true))?;
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
        let was_held = state.held.remove(&txid);
        self.save_with(&mut state, was_held.then_some((txid, false)))
    }

    /// LDK has broadcast this funding transaction (`Event::ChannelPending`): from now on the
    /// wallet may send it again after a restart. Does nothing for other transactions.
    pub fn release(&self, txid: Txid) -> Result<(), WalletError> {
        let mut state = self.lock();
        let decided = state.held.remove(&txid).then_some((txid, false));
        self.save_with(&mut state, decided)
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

    /// Notes a transaction that pays to us, such as a cooperative close or a sweep, so that the
    /// balance shows it before its block. Not for LDK's fee bumps: it replaces those itself.
    pub fn note_unconfirmed(&self, tx: &Transaction) -> Result<(), WalletError> {
        let mut state = self.lock();
        self.note(&mut state, tx, None)
    }

    fn note(
        &self,
        state: &mut State,
        tx: &Transaction,
        held: Option<bool>,
    ) -> Result<(), WalletError> {
        let (txid, time) = (tx.compute_txid(), state.next_time());
        state.bdk.apply_unconfirmed_txs([(tx.clone(), time)]);
        if held == Some(true) {
            state.held.insert(txid);
        }
        self.save_with(state, held.map(|held| (txid, held)))
    }

    fn build(&self, state: &mut State, spend: &Spend) -> Result<Transaction, WalletError> {
        check_fee_rate(spend.fee_rate)?;
        if let SendAmount::Exactly(amount) = spend.amount {
            check_dust(amount, &spend.to)?;
        }
        let have = state.available(spend.min_confs);
        // Checked here because bdk's sums panic on amounts beyond all bitcoins.
        let least = match spend.amount {
            SendAmount::Exactly(amount) => amount,
            SendAmount::All => spend.reserve,
        };
        if least > have {
            return Err(WalletError::InsufficientFunds { have, need: least });
        }
        let built = match spend.amount {
            SendAmount::Exactly(amount) => state.build_exactly(spend, amount),
            SendAmount::All => state.build_all(spend),
        };
        let psbt = built.map_err(|error| match error {
            CreateTxError::CoinSelection(missing) => WalletError::InsufficientFunds {
                have,
                need: missing.needed,
            },
            other => WalletError::Internal(other.to_string()),
        })?;
        state.check_reserve(&psbt.unsigned_tx, spend.reserve)?;
        self.sign_own(state, psbt)
    }

    /// Signs our inputs and returns the transaction; inputs of others stay as they are.
    pub(super) fn sign_own(
        &self,
        state: &State,
        mut psbt: Psbt,
    ) -> Result<Transaction, WalletError> {
        self.keys
            .sign(&mut psbt, |outpoint| state.own_output(outpoint))?;
        Ok(psbt.extract_tx_unchecked_fee_rate())
    }
}

impl State {
    fn build_exactly(&mut self, spend: &Spend, amount: Amount) -> Result<Psbt, CreateTxError> {
        let claimed = self.claimed_now();
        let mut builder = self.bdk.build_tx();
        builder
            .unspendable(claimed)
            .exclude_below_confirmations(spend.min_confs)
            .add_recipient(spend.to.clone(), amount)
            .fee_rate(spend.fee_rate);
        builder.finish()
    }

    /// All coins to one output; the reserve, if any, goes back to us (as lnd does it).
    fn build_all(&mut self, spend: &Spend) -> Result<Psbt, CreateTxError> {
        let claimed = self.claimed_now();
        let own = self
            .bdk
            .next_unused_address(KeychainKind::Internal)
            .address
            .script_pubkey();
        let mut builder = self.bdk.build_tx();
        builder
            .unspendable(claimed)
            .exclude_below_confirmations(spend.min_confs)
            .drain_wallet()
            .drain_to(spend.to.clone())
            .ordering(TxOrdering::Shuffle)
            .fee_rate(spend.fee_rate);
        if spend.reserve > Amount::ZERO {
            builder.add_recipient(own, spend.reserve);
        }
        let psbt = builder.finish()?;
        let paid = psbt
            .unsigned_tx
            .output
            .iter()
            .any(|out| out.script_pubkey == spend.to);
        if paid {
            return Ok(psbt);
        }
        // Nothing is left beside the reserve.
        let needed = spend.reserve + spend.to.minimal_non_dust();
        let missing = bdk_wallet::coin_selection::InsufficientFunds {
            needed,
            available: needed,
        };
        Err(CreateTxError::CoinSelection(missing))
    }

    /// Coins that could be spent now, with `min_confs` confirmations.
    fn available(&self, min_confs: u32) -> Amount {
        let free = self
            .free_outputs()
            .filter(|coin| self.confirmations(coin) >= min_confs);
        free.map(|coin| coin.txout.value).sum()
    }

    fn free_outputs(&self) -> impl Iterator<Item = bdk_wallet::LocalOutput> + '_ {
        let claimed = self.claimed_now();
        self.spendable_outputs().filter(move |coin| {
            !claimed.contains(&coin.outpoint) && !self.bdk.is_outpoint_locked(coin.outpoint)
        })
    }

    /// After `tx` the wallet must still hold `reserve`, its change included.
    fn check_reserve(&self, tx: &Transaction, reserve: Amount) -> Result<(), WalletError> {
        let spends = |outpoint| {
            tx.input
                .iter()
                .any(|input| input.previous_output == outpoint)
        };
        let kept = self.free_outputs().filter(|coin| !spends(coin.outpoint));
        let kept = kept.map(|coin| coin.txout.value);
        let change = tx
            .output
            .iter()
            .filter(|o| self.bdk.is_mine(o.script_pubkey.clone()));
        let left: Amount = kept.chain(change.map(|output| output.value)).sum();
        if left < reserve {
            return Err(WalletError::Reserve { left, reserve });
        }
        Ok(())
    }

    /// Coins that LDK bumps claims with; it may use them again, our own sends may not.
    fn claimed_now(&self) -> Vec<OutPoint> {
        let tip = self.bdk.latest_checkpoint().height();
        let recent = |height: u32| tip.saturating_sub(height) < CLAIM_BLOCKS;
        self.claimed
            .iter()
            .filter(|(_, height)| recent(**height))
            .map(|(coin, _)| *coin)
            .collect()
    }

    /// The output at `outpoint` and its key, if it is ours, spent or not.
    pub(super) fn own_output(&self, outpoint: &OutPoint) -> Option<(TxOut, KeychainKind, u32)> {
        let output = self.bdk.tx_graph().get_txout(*outpoint)?;
        let (keychain, index) = self.bdk.derivation_of_spk(output.script_pubkey.clone())?;
        Some((output.clone(), keychain, index))
    }

    /// Transactions that spend our coins and are in no block.
    fn pending(&self) -> impl Iterator<Item = Transaction> + '_ {
        let unconfirmed = self
            .bdk
            .transactions()
            .filter(|tx| !tx.chain_position.is_confirmed());
        let ours = unconfirmed.map(|tx| tx.tx_node.tx.as_ref().clone());
        ours.filter(|tx| self.bdk.sent_and_received(tx).0 > Amount::ZERO)
    }
}

fn check_fee_rate(rate: FeeRate) -> Result<(), WalletError> {
    let sat_per_kw = rate.to_sat_per_kwu();
    if (MIN_FEE_RATE..=MAX_FEE_RATE).contains(&sat_per_kw) {
        return Ok(());
    }
    Err(WalletError::FeeRate {
        sat_per_kw,
        min: MIN_FEE_RATE,
        max: MAX_FEE_RATE,
    })
}

fn check_dust(amount: Amount, script: &ScriptBuf) -> Result<(), WalletError> {
    let limit = script.minimal_non_dust();
    if amount >= limit {
        return Ok(());
    }
    Err(WalletError::Dust { amount, limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::test_chain::{TestChain, address_of_nobody, wallet_with};

    const RATE: FeeRate = FeeRate::from_sat_per_kwu(1_000);

    fn order(amount: SendAmount) -> Spend {
        let (to, reserve) = (address_of_nobody().script_pubkey(), Amount::ZERO);
        Spend {
            to,
            amount,
            fee_rate: RATE,
            min_confs: 1,
            reserve,
        }
    }

    fn exactly(sat: u64) -> Spend {
        order(SendAmount::Exactly(Amount::from_sat(sat)))
    }

    fn paid(tx: &Transaction) -> Amount {
        let to = address_of_nobody().script_pubkey();
        tx.output
            .iter()
            .filter(|out| out.script_pubkey == to)
            .map(|out| out.value)
            .sum()
    }

    #[test]
    fn a_send_pays_the_amount_at_the_fee_rate_and_its_signatures_are_valid() {
        let (mut chain, wallet, _) = wallet_with(&[60_000, 70_000]);
        let tx = wallet.send(&exactly(100_000)).unwrap();
        assert_eq!(paid(&tx), Amount::from_sat(100_000));
        let coins = chain.outputs_spent_by(&tx);
        let fee = coins.iter().map(|coin| coin.value).sum::<Amount>()
            - tx.output.iter().map(|out| out.value).sum::<Amount>();
        let rate = fee / tx.weight();
        let allowed = RATE.to_sat_per_kwu()..=RATE.to_sat_per_kwu() * 11 / 10;
        assert!(allowed.contains(&rate.to_sat_per_kwu()), "{rate:?}");
        chain.check_p2wpkh_signatures(&tx);
        chain.mine(&wallet, vec![tx]);
        assert_eq!(wallet.balance().confirmed, Amount::from_sat(30_000) - fee);
    }

    #[test]
    fn a_pending_send_is_not_spent_twice_and_its_change_only_on_request() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let first = wallet.send(&exactly(20_000)).unwrap();
        let error = wallet.send(&exactly(20_000)).unwrap_err();
        assert!(
            matches!(error, WalletError::InsufficientFunds { .. }),
            "{error}"
        );
        assert!(wallet.balance().unconfirmed > Amount::from_sat(70_000));
        let second = wallet
            .send(&Spend {
                min_confs: 0,
                ..exactly(20_000)
            })
            .unwrap();
        assert_eq!(second.input[0].previous_output.txid, first.compute_txid());
        let error = wallet.cancel(first.compute_txid()).unwrap_err();
        assert!(matches!(error, WalletError::ChangeSpent(_)), "{error}");
    }

    #[test]
    fn sending_all_leaves_nothing_or_exactly_the_reserve() {
        let (_chain, wallet, _) = wallet_with(&[60_000, 70_000]);
        let tx = wallet.send(&order(SendAmount::All)).unwrap();
        assert_eq!((tx.input.len(), tx.output.len()), (2, 1));
        wallet.cancel(tx.compute_txid()).unwrap();

        let reserve = anchor_reserve(3);
        let tx = wallet
            .send(&Spend {
                reserve,
                ..order(SendAmount::All)
            })
            .unwrap();
        assert_eq!(tx.output.len(), 2);
        assert_eq!(wallet.balance().total(), reserve);
        assert!(paid(&tx) < Amount::from_sat(100_000) && paid(&tx) > Amount::from_sat(98_000));
    }

    #[test]
    fn sending_all_fails_if_only_the_reserve_is_there() {
        let (_chain, wallet, _) = wallet_with(&[30_300]);
        let spend = Spend {
            reserve: anchor_reserve(3),
            ..order(SendAmount::All)
        };
        let error = wallet.send(&spend).unwrap_err();
        assert!(
            matches!(error, WalletError::InsufficientFunds { .. }),
            "{error}"
        );
        assert_eq!(wallet.balance().confirmed, Amount::from_sat(30_300));
    }

    #[test]
    fn the_anchor_reserve_is_kept() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let reserve = anchor_reserve(1);
        let error = wallet
            .fund(&Spend {
                reserve,
                ..exactly(95_000)
            })
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("reserved wallet balance invalidated"),
            "{error}"
        );
        wallet
            .fund(&Spend {
                reserve,
                ..exactly(85_000)
            })
            .unwrap();
        assert_eq!(anchor_reserve(0), Amount::ZERO);
        assert_eq!(anchor_reserve(usize::MAX), Amount::from_sat(100_000));
    }

    #[test]
    fn a_cancelled_transaction_frees_its_coins_and_may_be_made_again() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        for _ in 0..3 {
            let tx = wallet.send(&exactly(50_000)).unwrap();
            wallet.cancel(tx.compute_txid()).unwrap();
            assert_eq!(wallet.balance().confirmed, Amount::from_sat(100_000));
            let error = wallet.cancel(tx.compute_txid()).unwrap_err();
            assert!(matches!(error, WalletError::NotPending(_)), "{error}");
        }
        wallet.send(&exactly(50_000)).unwrap();
        assert_eq!(wallet.balance().confirmed, Amount::ZERO);
    }

    #[test]
    fn a_funding_is_held_until_ldk_has_sent_it_also_over_a_restart() {
        let (chain, wallet, log) = wallet_with(&[200_000, 200_000]);
        let sent = wallet.send(&exactly(50_000)).unwrap();
        let funding = wallet.fund(&exactly(150_000)).unwrap();
        let txid = funding.compute_txid();
        drop(wallet);

        let wallet = chain.reopen(&log);
        assert_eq!(wallet.held(), [txid]);
        assert_eq!(wallet.to_rebroadcast(), std::slice::from_ref(&sent));
        wallet.release(txid).unwrap();

        let wallet = chain.reopen(&log);
        assert!(wallet.held().is_empty());
        assert_eq!(wallet.to_rebroadcast().len(), 2);
        wallet.cancel(txid).unwrap();
        assert_eq!(chain.reopen(&log).to_rebroadcast(), [sent]);
    }

    #[test]
    fn a_confirmed_transaction_is_neither_sent_again_nor_cancelled() {
        let (mut chain, wallet, _) = wallet_with(&[100_000]);
        let tx = wallet.send(&exactly(50_000)).unwrap();
        chain.mine(&wallet, vec![tx.clone()]);
        assert!(wallet.to_rebroadcast().is_empty());
        let error = wallet.cancel(tx.compute_txid()).unwrap_err();
        assert!(matches!(error, WalletError::NotPending(_)), "{error}");
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let error = wallet.send(&exactly(1_000_000)).unwrap_err().to_string();
        let lnd = "insufficient funds available to construct transaction";
        assert!(
            error.starts_with(lnd) && error.contains("have 100000 sat"),
            "{error}"
        );
        let error = wallet.fund(&exactly(1_000_000)).unwrap_err().to_string();
        assert!(
            error.starts_with("not enough witness outputs to create funding tr"),
            "{error}"
        );
        assert!(
            error.contains("only have 0.00100000 BTC available"),
            "{error}"
        );
        let error = wallet.send(&exactly(100)).unwrap_err().to_string();
        assert!(
            error.contains("100 sat is below the dust limit of 294 sat"),
            "{error}"
        );
        for rate in [0, 249, 1_250_001, u64::MAX] {
            let fee_rate = FeeRate::from_sat_per_kwu(rate);
            let error = wallet
                .send(&Spend {
                    fee_rate,
                    ..exactly(1_000)
                })
                .unwrap_err();
            assert!(matches!(error, WalletError::FeeRate { .. }), "{error}");
        }
        let error = wallet.send(&exactly(u64::MAX)).unwrap_err();
        assert!(
            matches!(error, WalletError::InsufficientFunds { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_locked_coin_is_not_spent() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let coin = wallet.list_utxos(1)[0].outpoint;
        wallet.lock_coin(coin).unwrap();
        assert_eq!(wallet.balance().locked, Amount::from_sat(100_000));
        assert!(wallet.send(&exactly(1_000)).is_err());
        wallet.unlock_coin(coin).unwrap();
        wallet.send(&exactly(1_000)).unwrap();
    }

    #[test]
    fn mined_coins_are_spent_only_when_mature() {
        let mut chain = TestChain::new();
        let (wallet, _) = chain.open_new();
        let script = wallet.new_address().unwrap().script_pubkey();
        chain.mine_to(&wallet, script, 1_000_000);
        (0..98).for_each(|_| chain.mine(&wallet, vec![]));
        assert!(wallet.send(&exactly(1_000)).is_err());
        chain.mine(&wallet, vec![]);
        wallet.send(&exactly(1_000)).unwrap();
    }
}
