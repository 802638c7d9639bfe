//! Replaces unconfirmed payments with ones that pay a higher fee (BIP 125).

use bdk_wallet::error::BuildFeeBumpError;
use bitcoin::{Amount, FeeRate, Psbt, Transaction, Txid};

use super::build::{check_fee_rate, create_error};
use super::error::WalletError;
use super::on_chain::Wallet;
use super::spend::Purpose;
use super::state::State;

/// A request to replace a payment.
#[derive(Clone, Copy, Debug)]
pub struct Bump {
    /// The transaction to replace.
    pub txid: Txid,
    /// The new fee rate.
    pub fee_rate: FeeRate,
    /// The maximum fee of the new transaction.
    pub most: Option<Amount>,
    /// The amount that must be left in the wallet.
    pub reserve: Amount,
}

impl Wallet {
    /// Creates, signs and records a transaction that pays the same outputs with a higher fee, taken from the
    /// change or from additional coins. As with [`send`](Self::send), the caller broadcasts it, and cancels
    /// it if bitcoind rejects it, which restores the original.
    ///
    /// # Errors
    /// [`WalletError::NotPending`], [`WalletError::NotReplaceable`], [`WalletError::ChangeSpent`];
    /// [`WalletError::ReplacementRate`] and [`WalletError::OverBudget`] for the fee; and those of
    /// [`send`](Self::send).
    pub fn bump(&self, bump: &Bump) -> Result<Transaction, WalletError> {
        check_fee_rate(bump.fee_rate)?;
        let mut state = self.lock();
        state.check_replaceable(bump.txid)?;
        let psbt = state.rebuild(bump)?;
        check_budget(&psbt, bump.most)?;
        let tx = self.sign_own(&state, psbt)?;
        self.note(&mut state, &tx, Purpose::Payment)?;
        Ok(tx)
    }
}

impl State {
    fn check_replaceable(&self, txid: Txid) -> Result<(), WalletError> {
        let pending: Vec<_> = self.pending().collect();
        if !pending.iter().any(|tx| tx.compute_txid() == txid) {
            return Err(WalletError::NotPending(txid));
        }
        if !self.sent.contains(&txid) {
            let reason = "it is not a payment of this wallet";
            return Err(WalletError::NotReplaceable { txid, reason });
        }
        let mut inputs = pending.iter().flat_map(|tx| &tx.input);
        if inputs.any(|input| input.previous_output.txid == txid) {
            return Err(WalletError::ChangeSpent(txid));
        }
        Ok(())
    }

    fn rebuild(&mut self, bump: &Bump) -> Result<Psbt, WalletError> {
        let have = self.bdk.balance().confirmed;
        let reserved = self.reserved_now();
        let mut builder = match self.bdk.build_fee_bump(bump.txid) {
            Ok(builder) => builder,
            Err(BuildFeeBumpError::IrreplaceableTransaction(txid)) => {
                let reason = "it does not signal replaceability";
                return Err(WalletError::NotReplaceable { txid, reason });
            }
            Err(other) => return Err(WalletError::Internal(other.to_string())),
        };
        builder.unspendable(reserved).fee_rate(bump.fee_rate);
        let psbt = builder.finish().map_err(|e| create_error(e, have))?;
        self.check_reserve(&psbt.unsigned_tx, bump.reserve)?;
        Ok(psbt)
    }
}

fn check_budget(psbt: &Psbt, most: Option<Amount>) -> Result<(), WalletError> {
    let fee = psbt.fee();
    let fee = fee.map_err(|error| WalletError::Internal(error.to_string()))?;
    match most {
        Some(most) if fee > most => Err(WalletError::OverBudget { fee, most }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::test_chain::{foreign_address, wallet_with};
    use crate::wallet::{Outputs, Spend};

    fn spend(sat: u64) -> Spend {
        let to = foreign_address().script_pubkey();
        Spend {
            outputs: Outputs::one(to, Amount::from_sat(sat)),
            fee_rate: FeeRate::from_sat_per_kwu(1_000),
            min_confs: 1,
            reserve: Amount::ZERO,
            coins: vec![],
        }
    }

    fn bump(txid: Txid, sat_per_kw: u64) -> Bump {
        Bump {
            txid,
            fee_rate: FeeRate::from_sat_per_kwu(sat_per_kw),
            most: None,
            reserve: Amount::ZERO,
        }
    }

    fn paid(tx: &Transaction) -> u64 {
        let to = foreign_address().script_pubkey();
        let mut outputs = tx.output.iter();
        outputs
            .find(|o| o.script_pubkey == to)
            .unwrap()
            .value
            .to_sat()
    }

    #[test]
    fn payment_is_replaced_with_a_higher_fee() {
        let (mut chain, wallet, log) = wallet_with(&[100_000]);
        let first = wallet.send(&spend(40_000)).unwrap();
        let wallet = chain.reopen(&log);
        let second = wallet.bump(&bump(first.compute_txid(), 5_000)).unwrap();
        assert_eq!(
            second.input[0].previous_output,
            first.input[0].previous_output
        );
        assert_eq!(paid(&second), 40_000);
        chain.check_p2wpkh_signatures(&second);
        let entry = wallet.transaction(second.compute_txid()).unwrap();
        let rate = entry.fee.unwrap() / second.weight();
        assert!((5_000..5_500).contains(&rate.to_sat_per_kwu()), "{rate:?}");
        assert_eq!(wallet.to_rebroadcast(), std::slice::from_ref(&second));
        wallet.bump(&bump(second.compute_txid(), 9_000)).unwrap();
        chain.mine(&wallet, vec![first.clone()]);
        assert!(wallet.to_rebroadcast().is_empty());
        let error = wallet.bump(&bump(first.compute_txid(), 9_000)).unwrap_err();
        assert!(matches!(error, WalletError::NotPending(_)), "{error}");
    }

    #[test]
    fn cancelling_a_replacement_restores_the_original() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let first = wallet.send(&spend(40_000)).unwrap();
        let second = wallet.bump(&bump(first.compute_txid(), 5_000)).unwrap();
        wallet.cancel(second.compute_txid()).unwrap();
        assert_eq!(wallet.to_rebroadcast(), [first]);
    }

    #[test]
    fn replacement_adds_coins_if_the_change_is_too_small() {
        let (chain, wallet, _) = wallet_with(&[100_000, 50_000]);
        let coins = wallet.list_utxos(1);
        let coin = coins.iter().find(|c| c.amount.to_sat() == 100_000).unwrap();
        let coins = vec![coin.outpoint];
        let first = wallet
            .send(&Spend {
                coins,
                ..spend(99_400)
            })
            .unwrap();
        let second = wallet.bump(&bump(first.compute_txid(), 20_000)).unwrap();
        assert_eq!((second.input.len(), paid(&second)), (2, 99_400));
        chain.check_p2wpkh_signatures(&second);
    }

    #[test]
    fn rejects_what_cannot_be_replaced_with_the_reason() {
        let (mut chain, wallet, _) = wallet_with(&[100_000, 100_000, 100_000]);
        let refusal = |txid, rate| wallet.bump(&bump(txid, rate)).unwrap_err();
        let funding = wallet.fund(&spend(40_000)).unwrap().compute_txid();
        wallet.release(funding).unwrap();
        let error = refusal(funding, 5_000);
        assert!(
            matches!(error, WalletError::NotReplaceable { .. }),
            "{error}"
        );

        let sent = wallet.send(&spend(40_000)).unwrap().compute_txid();
        let error = refusal(sent, 1_100);
        assert!(matches!(error, WalletError::ReplacementRate(_)), "{error}");
        let error = wallet.bump(&Bump {
            most: Some(Amount::from_sat(500)),
            ..bump(sent, 5_000)
        });
        assert!(matches!(error, Err(WalletError::OverBudget { .. })));
        let error = wallet.bump(&Bump {
            reserve: Amount::from_sat(270_000),
            ..bump(sent, 5_000)
        });
        // The change of the original does not count in addition to that of the replacement.
        assert!(
            matches!(error, Err(WalletError::Reserve { .. })),
            "{error:?}"
        );
        let error = refusal(sent, u64::MAX);
        assert!(matches!(error, WalletError::FeeRate { .. }), "{error}");

        let incoming = chain.payment_to(&wallet, 50_000);
        wallet.note_unconfirmed(&incoming).unwrap();
        let error = refusal(incoming.compute_txid(), 5_000);
        assert!(matches!(error, WalletError::NotPending(_)), "{error}");
    }
}
