//! The wallet as LDK sees it: coins and signatures for fee bumps, scripts for change and sweeps.

use bitcoin::{Psbt, ScriptBuf, Transaction, WPubkeyHash};
use lightning::events::bump_transaction::Utxo;
use lightning::events::bump_transaction::sync::WalletSourceSync;
use lightning::sign::ChangeDestinationSourceSync;

use super::error::WalletError;
use super::on_chain::{State, Wallet};

impl WalletSourceSync for Wallet {
    /// Confirmed coins that are neither leased nor spent by a transaction of ours. Coins of
    /// earlier bumps are among them: LDK replaces its own transaction, and keeps account of them.
    fn list_confirmed_utxos(&self) -> Result<Vec<Utxo>, ()> {
        let state = self.lock();
        let leased = state.leased_now();
        let coins = state
            .spendable_outputs()
            .filter(|coin| state.confirmations(coin) > 0 && !leased.contains(&coin.outpoint));
        Ok(coins
            .filter_map(|coin| {
                let hash = p2wpkh_hash(&coin.txout.script_pubkey)?;
                Some(Utxo::new_v0_p2wpkh(coin.outpoint, coin.txout.value, &hash))
            })
            .collect())
    }

    fn get_change_script(&self) -> Result<ScriptBuf, ()> {
        self.change_script().map_err(failed)
    }

    /// Signs our inputs and keeps our own sends away from their coins.
    fn sign_psbt(&self, psbt: Psbt) -> Result<Transaction, ()> {
        let mut state = self.lock();
        let tx = self.sign_own(&state, psbt).map_err(failed)?;
        state.claim_inputs(&tx);
        Ok(tx)
    }
}

impl ChangeDestinationSourceSync for Wallet {
    fn get_change_destination_script(&self) -> Result<ScriptBuf, ()> {
        self.change_script().map_err(failed)
    }
}

impl State {
    fn claim_inputs(&mut self, tx: &Transaction) {
        let height = self.bdk.latest_checkpoint().height();
        let coins = tx.input.iter().map(|input| input.previous_output);
        let own: Vec<_> = coins
            .filter(|coin| self.own_output(coin).is_some())
            .collect();
        let bdk = &self.bdk;
        self.claimed.retain(|coin, _| bdk.get_utxo(*coin).is_some());
        self.claimed
            .extend(own.into_iter().map(|coin| (coin, height)));
    }
}

fn p2wpkh_hash(script: &ScriptBuf) -> Option<WPubkeyHash> {
    // OP_0, a push of 20 bytes, the hash (BIP 141).
    if !script.is_p2wpkh() {
        return None;
    }
    let hash: [u8; 20] = script.as_bytes().get(2..)?.try_into().ok()?;
    Some(bitcoin::hashes::Hash::from_byte_array(hash))
}

/// LDK wants no reason, so it goes to the log.
fn failed(error: WalletError) {
    tracing::error!(%error, "wallet request of LDK failed");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lightning::chain::ClaimId;
    use lightning::events::bump_transaction::sync::{CoinSelectionSourceSync, WalletSync};

    use crate::logger::LdkLogger;
    use bitcoin::{Amount, FeeRate, OutPoint, TxIn, TxOut, absolute, transaction};

    use super::*;
    use crate::wallet::test_chain::{address_of_nobody, wallet_with};
    use crate::wallet::{Outputs, Spend};

    /// A transaction as LDK's bump handler makes it: an input of its own, then coins of ours.
    fn bump(coins: &[Utxo]) -> Psbt {
        let anchor = TxIn {
            previous_output: OutPoint::null(),
            ..TxIn::default()
        };
        let ours = coins.iter().map(|coin| TxIn {
            previous_output: coin.outpoint,
            ..TxIn::default()
        });
        let script_pubkey = address_of_nobody().script_pubkey();
        let output = TxOut {
            value: Amount::from_sat(1_000),
            script_pubkey,
        };
        let (version, lock_time) = (transaction::Version::TWO, absolute::LockTime::ZERO);
        let input = std::iter::once(anchor).chain(ours).collect();
        let tx = Transaction {
            version,
            lock_time,
            input,
            output: vec![output],
        };
        let mut psbt = Psbt::from_unsigned_tx(tx).unwrap();
        for (input, coin) in psbt.inputs[1..].iter_mut().zip(coins) {
            input.witness_utxo = Some(coin.output.clone());
        }
        psbt
    }

    #[test]
    fn our_inputs_are_signed_and_the_others_left_alone() {
        let (chain, wallet, _) = wallet_with(&[50_000, 60_000]);
        let coins = wallet.list_confirmed_utxos().unwrap();
        assert_eq!(coins.len(), 2);
        let tx = wallet.sign_psbt(bump(&coins)).unwrap();
        assert!(tx.input[0].witness.is_empty());
        assert!(tx.input[1..].iter().all(|input| input.witness.len() == 2));
        chain.check_p2wpkh_signatures(&tx);
    }

    #[test]
    fn coins_of_a_bump_are_kept_for_ldk_and_from_our_sends() {
        let (_chain, wallet, _) = wallet_with(&[50_000]);
        let coins = wallet.list_confirmed_utxos().unwrap();
        wallet.sign_psbt(bump(&coins)).unwrap();
        assert_eq!(wallet.list_confirmed_utxos().unwrap(), coins);
        let to = address_of_nobody().script_pubkey();
        let spend = Spend {
            outputs: Outputs::one(to, Amount::from_sat(1_000)),
            fee_rate: FeeRate::from_sat_per_kwu(1_000),
            min_confs: 1,
            reserve: Amount::ZERO,
            coins: vec![],
        };
        assert!(wallet.send(&spend).is_err());
    }

    #[test]
    fn leased_coins_are_not_offered_to_ldk() {
        let (_chain, wallet, _) = wallet_with(&[50_000, 60_000]);
        let coin = wallet.list_utxos(1)[0].outpoint;
        wallet.lease(coin, [1; 32], 600).unwrap();
        let coins = wallet.list_confirmed_utxos().unwrap();
        assert!(coins.len() == 1 && coins[0].outpoint != coin);
    }

    #[test]
    fn unconfirmed_coins_are_not_offered_to_ldk() {
        let (mut chain, wallet, _) = wallet_with(&[]);
        let payment = chain.payment_to(&wallet, 50_000);
        wallet.note_unconfirmed(&payment).unwrap();
        assert_eq!(wallet.balance().unconfirmed, Amount::from_sat(50_000));
        assert!(wallet.list_confirmed_utxos().unwrap().is_empty());
        chain.mine(&wallet, vec![payment]);
        assert_eq!(wallet.list_confirmed_utxos().unwrap().len(), 1);
    }

    #[test]
    fn ldks_coin_selection_works_on_this_wallet() {
        let (_chain, wallet, _) = wallet_with(&[50_000, 60_000]);
        let source = WalletSync::new(Arc::new(wallet), Arc::new(LdkLogger));
        let script_pubkey = address_of_nobody().script_pubkey();
        let output = TxOut {
            value: Amount::from_sat(55_000),
            script_pubkey,
        };
        let chosen =
            source.select_confirmed_utxos(ClaimId([1; 32]), vec![], &[output], 1_000, 4_000);
        let chosen = chosen.unwrap();
        let sum: Amount = chosen
            .confirmed_utxos
            .iter()
            .map(|coin| coin.output.value)
            .sum();
        assert!(sum > Amount::from_sat(55_000) && chosen.change_output.is_some());
        let tx = source.sign_psbt(bump(&chosen.confirmed_utxos)).unwrap();
        assert!(tx.input[1..].iter().all(|input| input.witness.len() == 2));
    }

    #[test]
    fn change_scripts_are_ours_and_differ() {
        let (_chain, wallet, _) = wallet_with(&[]);
        let first = wallet.get_change_script().unwrap();
        let second = wallet.get_change_destination_script().unwrap();
        assert!(first != second && wallet.is_mine(&first) && wallet.is_mine(&second));
    }
}
