//! LDK's interfaces to the wallet: coins and signatures for fee bumps, scripts for change and sweeps.

use std::sync::Arc;

use bitcoin::{Psbt, ScriptBuf, Transaction};
use lightning::events::bump_transaction::Utxo;
use lightning::events::bump_transaction::sync::WalletSourceSync;
use lightning::sign::ChangeDestinationSourceSync;

use super::error::WalletError;
use super::on_chain::Wallet;
use super::state::Claim;

impl Wallet {
    /// Returns the coin source of one claim for LDK's coin selection; see [`Wallet::coins_for`].
    pub fn source_for(self: &Arc<Self>, claim: Claim, takes: bool) -> ClaimCoins {
        ClaimCoins {
            wallet: self.clone(),
            claim,
            takes,
        }
    }
}

/// The coin source for one of LDK's claims.
pub struct ClaimCoins {
    wallet: Arc<Wallet>,
    claim: Claim,
    takes: bool,
}

impl WalletSourceSync for ClaimCoins {
    fn list_confirmed_utxos(&self) -> Result<Vec<Utxo>, ()> {
        Ok(self.wallet.coins_for(self.claim, self.takes))
    }

    /// Returns an unused address instead of a new one: LDK requests one for each repetition of a claim, and
    /// wallet recovery finds only a limited number of unused addresses in a row.
    fn get_change_script(&self) -> Result<ScriptBuf, ()> {
        self.wallet.unused_change_script().map_err(failed)
    }

    /// Signs our inputs and reserves their coins for this claim.
    fn sign_psbt(&self, psbt: Psbt) -> Result<Transaction, ()> {
        self.wallet.sign_for(self.claim, psbt).map_err(failed)
    }
}

impl ChangeDestinationSourceSync for Wallet {
    /// Returns an unused address instead of a new one: LDK requests one for each block while it sweeps.
    fn get_change_destination_script(&self) -> Result<ScriptBuf, ()> {
        self.unused_change_script().map_err(failed)
    }
}

/// Logs the error, because LDK's interface has no room for it.
fn failed(error: WalletError) {
    tracing::error!(%error, "the wallet cannot serve a request from LDK");
}

#[cfg(test)]
mod tests {
    use bitcoin::{Amount, OutPoint, TxIn, TxOut, absolute, transaction};
    use lightning::chain::ClaimId;
    use lightning::events::bump_transaction::sync::{CoinSelectionSourceSync, WalletSync};

    use super::*;
    use crate::logging::ldk::LdkLogger;
    use crate::wallet::test_chain::{foreign_address, wallet_with};

    const URGENT: Claim = Claim {
        id: [1; 32],
        urgent: true,
    };

    /// A transaction as LDK's bump handler builds it: an anchor input, then our coins.
    fn bump(coins: &[Utxo]) -> Psbt {
        let anchor = TxIn {
            previous_output: OutPoint::null(),
            ..TxIn::default()
        };
        let ours = coins.iter().map(|coin| TxIn {
            previous_output: coin.outpoint,
            ..TxIn::default()
        });
        let script_pubkey = foreign_address().script_pubkey();
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

    fn source(wallet: Wallet) -> (Arc<Wallet>, ClaimCoins) {
        let wallet = Arc::new(wallet);
        let coins = wallet.source_for(URGENT, false);
        (wallet, coins)
    }

    #[test]
    fn signs_only_our_inputs() {
        let (chain, wallet, _) = wallet_with(&[50_000, 60_000]);
        let (_wallet, source) = source(wallet);
        let coins = source.list_confirmed_utxos().unwrap();
        assert_eq!(coins.len(), 2);
        let tx = source.sign_psbt(bump(&coins)).unwrap();
        assert!(tx.input[0].witness.is_empty());
        assert!(tx.input[1..].iter().all(|input| input.witness.len() == 2));
        chain.check_p2wpkh_signatures(&tx);
    }

    #[test]
    fn leased_coins_are_not_offered_to_ldk() {
        let (_chain, wallet, _) = wallet_with(&[50_000, 60_000]);
        let coin = wallet.list_utxos(1)[0].outpoint;
        wallet.lease(coin, [1; 32], 600, Amount::ZERO).unwrap();
        let (_wallet, source) = source(wallet);
        let coins = source.list_confirmed_utxos().unwrap();
        assert!(coins.len() == 1 && coins[0].outpoint != coin);
    }

    #[test]
    fn unconfirmed_coins_are_not_offered_to_ldk() {
        let (mut chain, wallet, _) = wallet_with(&[]);
        let payment = chain.payment_to(&wallet, 50_000);
        wallet.note_unconfirmed(&payment).unwrap();
        assert_eq!(wallet.balance().unconfirmed, Amount::from_sat(50_000));
        assert_eq!(wallet.usable(), Amount::ZERO);
        let (wallet, source) = source(wallet);
        assert!(source.list_confirmed_utxos().unwrap().is_empty());
        chain.mine(&wallet, vec![payment]);
        assert_eq!(source.list_confirmed_utxos().unwrap().len(), 1);
    }

    #[test]
    fn ldks_coin_selection_works_on_this_wallet() {
        let (_chain, wallet, _) = wallet_with(&[50_000, 60_000]);
        let (_wallet, source) = source(wallet);
        let source = WalletSync::new(Arc::new(source), Arc::new(LdkLogger));
        let script_pubkey = foreign_address().script_pubkey();
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
    fn repeated_change_requests_reveal_only_one_address() {
        let (_chain, wallet, _) = wallet_with(&[]);
        let (wallet, source) = source(wallet);
        for _ in 0..30 {
            let change = source.get_change_script().unwrap();
            let sweep = wallet.get_change_destination_script().unwrap();
            assert!(wallet.is_mine(&change) && wallet.is_mine(&sweep));
        }
        assert_eq!(wallet.account().internal_keys, 1);
    }
}
