//! Child pays for parent (CPFP): bumps a transaction that we cannot replace by spending our outputs of it.

use bdk_wallet::KeychainKind;
use bitcoin::{Amount, FeeRate, OutPoint, Psbt, Transaction, Weight};

use super::build::{check_fee_rate, create_error};
use super::error::WalletError;
use super::on_chain::Wallet;
use super::spend::Purpose;
use super::state::State;

/// Weight of a transaction with one P2WPKH output and no inputs, and of each P2WPKH input (BIP 141).
const CHILD_WEIGHT: u64 = 42 + 124;
const INPUT_WEIGHT: u64 = 272;
/// Dust limit of a P2WPKH output, in sat.
const DUST_SAT: u64 = 294;

/// A request to pay for an unconfirmed transaction.
#[derive(Clone, Copy, Debug)]
pub struct Child<'a> {
    /// The transaction to bump. It must not be replaceable, because a replacement would invalidate the child.
    pub parent: &'a Transaction,
    /// The parent's fee.
    pub parent_fee: Amount,
    /// The fee rate of parent and child together.
    pub fee_rate: FeeRate,
    /// The maximum fee of the child.
    pub most: Option<Amount>,
}

impl Wallet {
    /// Creates, signs and records a transaction that spends all our outputs of the parent to a change address
    /// and pays for both. As with [`send`](Self::send), the caller broadcasts it, and cancels it if bitcoind
    /// rejects it. Its fee can be raised with [`bump`](Self::bump).
    ///
    /// # Errors
    /// [`WalletError::NotReplaceable`] if the parent has no unspent output of ours;
    /// [`WalletError::ReplacementRate`] if the parent alone pays this rate; [`WalletError::OverBudget`];
    /// [`WalletError::InsufficientFunds`] if our outputs are worth less than the fee.
    pub fn pay_for(&self, order: &Child<'_>) -> Result<Transaction, WalletError> {
        check_fee_rate(order.fee_rate)?;
        let mut state = self.lock();
        self.note(&mut state, order.parent, Purpose::Seen)?;
        let coins = state.outputs_to_us(order.parent)?;
        let fee = child_fee(order, coins.len())?;
        state.check_above_dust(&coins, fee)?;
        let psbt = state.build_child(&coins, fee)?;
        let child = self.sign_own(&state, psbt)?;
        self.note(&mut state, &child, Purpose::Payment)?;
        Ok(child)
    }
}

impl State {
    /// Returns our outputs of the parent, all of which must be unspent.
    fn outputs_to_us(&self, parent: &Transaction) -> Result<Vec<OutPoint>, WalletError> {
        let txid = parent.compute_txid();
        let refused = |reason| WalletError::NotReplaceable { txid, reason };
        let outputs = (0..)
            .zip(&parent.output)
            .map(|(vout, _)| OutPoint { txid, vout });
        let ours: Vec<OutPoint> = outputs
            .filter(|output| self.own_output(output).is_some())
            .collect();
        if ours.is_empty() {
            return Err(refused(
                "it has no output to this wallet that a child could spend",
            ));
        }
        if ours.iter().any(|coin| self.bdk.get_utxo(*coin).is_none()) {
            return Err(refused(
                "this wallet has spent its output already: bump the spending transaction instead",
            ));
        }
        Ok(ours)
    }

    /// Checks that the output after the fee is above the dust limit.
    fn check_above_dust(&self, coins: &[OutPoint], fee: Amount) -> Result<(), WalletError> {
        let values = coins.iter().filter_map(|coin| self.bdk.get_utxo(*coin));
        let have = values.map(|coin| coin.txout.value).sum();
        let need = fee
            .checked_add(Amount::from_sat(DUST_SAT))
            .unwrap_or(Amount::MAX_MONEY);
        if have < need {
            return Err(WalletError::InsufficientFunds { have, need });
        }
        Ok(())
    }

    fn build_child(&mut self, coins: &[OutPoint], fee: Amount) -> Result<Psbt, WalletError> {
        let to = self.bdk.next_unused_address(KeychainKind::Internal).address;
        let have = self.bdk.balance().total();
        let mut builder = self.bdk.build_tx();
        for coin in coins {
            builder
                .add_utxo(*coin)
                .map_err(|error| WalletError::Internal(error.to_string()))?;
        }
        builder
            .manually_selected_only()
            .fee_absolute(fee)
            .drain_to(to.script_pubkey());
        builder.finish().map_err(|error| create_error(error, have))
    }
}

/// The child's fee, so that parent and child together pay the requested rate.
fn child_fee(order: &Child<'_>, inputs: usize) -> Result<Amount, WalletError> {
    let inputs = u64::try_from(inputs).unwrap_or(u64::MAX);
    let child = CHILD_WEIGHT.saturating_add(INPUT_WEIGHT.saturating_mul(inputs));
    let both = Weight::from_wu(order.parent.weight().to_wu().saturating_add(child));
    let total = order.fee_rate.fee_wu(both).unwrap_or(Amount::MAX_MONEY);
    let alone = order.parent_fee / order.parent.weight();
    let fee = total.checked_sub(order.parent_fee).filter(|fee| {
        // The child alone must also pay the relay minimum, or it would never be accepted.
        *fee / Weight::from_wu(child) >= FeeRate::BROADCAST_MIN && order.fee_rate > alone
    });
    let fee = fee.ok_or(WalletError::ReplacementRate(alone))?;
    match order.most {
        Some(most) if fee > most => Err(WalletError::OverBudget { fee, most }),
        _ => Ok(fee),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::test_chain::{foreign_address, wallet_with};
    use bitcoin::TxOut;

    const PARENT_FEE: Amount = Amount::from_sat(200);

    fn order(parent: &Transaction, sat_per_kw: u64) -> Child<'_> {
        Child {
            parent,
            parent_fee: PARENT_FEE,
            fee_rate: FeeRate::from_sat_per_kwu(sat_per_kw),
            most: None,
        }
    }

    #[test]
    fn child_pays_for_its_parent_and_survives_a_restart() {
        let (mut chain, wallet, log) = wallet_with(&[]);
        let mut parent = chain.payment_to(&wallet, 50_000);
        let to = foreign_address().script_pubkey();
        parent.output.insert(
            0,
            TxOut {
                value: Amount::from_sat(7_000),
                script_pubkey: to,
            },
        );
        let child = wallet.pay_for(&order(&parent, 5_000)).unwrap();
        assert_eq!(child.input.len(), 1);
        assert_eq!(
            child.input[0].previous_output,
            OutPoint::new(parent.compute_txid(), 1)
        );
        let paid = Amount::from_sat(50_000) - child.output[0].value;
        let rate = (paid + PARENT_FEE) / (parent.weight() + child.weight());
        assert!((5_000..5_100).contains(&rate.to_sat_per_kwu()), "{rate:?}");
        assert!(wallet.is_mine(&child.output[0].script_pubkey));
        let wallet = chain.reopen(&log);
        assert_eq!(wallet.to_rebroadcast(), std::slice::from_ref(&child));
        chain.mine(&wallet, vec![parent, child.clone()]);
        chain.check_p2wpkh_signatures(&child);
        assert_eq!(wallet.balance().confirmed, child.output[0].value);
    }

    #[test]
    fn rejects_parents_that_a_child_cannot_pay_for() {
        let (mut chain, wallet, _) = wallet_with(&[]);
        let parent = chain.payment_to(&wallet, 3_000);
        let refusal = |order: &Child<'_>| wallet.pay_for(order).unwrap_err();
        let error = refusal(&order(&parent, 10_000));
        assert!(
            matches!(error, WalletError::InsufficientFunds { .. }),
            "{error}"
        );
        let error = refusal(&order(&parent, 300));
        assert!(matches!(error, WalletError::ReplacementRate(_)), "{error}");
        let most = Some(Amount::from_sat(100));
        let error = refusal(&Child {
            most,
            ..order(&parent, 2_000)
        });
        assert!(matches!(error, WalletError::OverBudget { .. }), "{error}");
        let foreign = chain.payment_at(&foreign_address(), 3_000);
        let error = refusal(&order(&foreign, 2_000));
        assert!(
            matches!(error, WalletError::NotReplaceable { .. }),
            "{error}"
        );
        wallet.pay_for(&order(&parent, 2_000)).unwrap();
        let error = refusal(&order(&parent, 3_000));
        assert!(
            matches!(error, WalletError::NotReplaceable { .. }),
            "{error}"
        );
    }
}
