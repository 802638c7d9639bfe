//! Coins that pay for LDK's on-chain claims (anchor children, HTLC transactions).
//!
//! Such a transaction may wait in the mempool, and is replaced with the same coins when fees rise. So the
//! coins are reserved, across restarts: spending them elsewhere would remove the claim's fee.

use std::collections::BTreeMap;

use bitcoin::{OutPoint, Psbt, ScriptBuf, Transaction, WPubkeyHash};
use lightning::events::bump_transaction::Utxo;

use super::error::WalletError;
use super::log::Record;
use super::on_chain::Wallet;
use super::state::{Claim, CoinUse, State};

impl Wallet {
    /// Returns the coins that this claim may use: confirmed ones that are neither leased, nor spent by a
    /// transaction of ours, nor used by another claim. Coins that it already uses are included.
    ///
    /// If `takes` is true, coins of other claims that are not urgent are included as well.
    pub fn coins_for(&self, claim: Claim, takes: bool) -> Vec<Utxo> {
        let state = self.lock();
        let leased = state.leased_now();
        let free = state.spendable_outputs().filter(|coin| {
            let other = state.claims.other(&coin.outpoint, claim.id);
            state.confirmations(coin) > 0
                && !leased.contains(&coin.outpoint)
                && other.is_none_or(|other| takes && !other.urgent)
        });
        free.filter_map(|coin| {
            let hash = p2wpkh_hash(&coin.txout.script_pubkey)?;
            Some(Utxo::new_v0_p2wpkh(coin.outpoint, coin.txout.value, &hash))
        })
        .collect()
    }

    /// Signs our inputs for a claim and reserves their coins for it.
    ///
    /// # Errors
    /// If an input has an invalid sighash type, or the changes cannot be recorded.
    pub fn sign_for(&self, claim: Claim, psbt: Psbt) -> Result<Transaction, WalletError> {
        let mut state = self.lock();
        let tx = self.sign_own(&state, psbt)?;
        let claimed = state.claim_inputs(&tx, claim);
        let record = Record {
            claimed,
            ..Record::default()
        };
        self.save_with(&mut state, record)?;
        Ok(tx)
    }

    /// Whether this claim has used coins within the last ten minutes.
    pub fn is_claiming(&self, id: [u8; 32]) -> bool {
        self.lock().claims.is_alive(id)
    }
}

impl State {
    fn claim_inputs(&mut self, tx: &Transaction, claim: Claim) -> BTreeMap<OutPoint, CoinUse> {
        let height = self.bdk.latest_checkpoint().height();
        let coins = tx.input.iter().map(|input| input.previous_output);
        let own: Vec<OutPoint> = coins
            .filter(|coin| self.own_output(coin).is_some())
            .collect();
        let bdk = &self.bdk;
        let claims = &mut self.claims;
        claims.retain(|coin| bdk.get_utxo(*coin).is_some());
        claims.record(claim, own, height)
    }
}

/// Returns the public key hash of a P2WPKH script.
fn p2wpkh_hash(script: &ScriptBuf) -> Option<WPubkeyHash> {
    // OP_0, a push of 20 bytes, the hash (BIP 141).
    if !script.is_p2wpkh() {
        return None;
    }
    let hash: [u8; 20] = script.as_bytes().get(2..)?.try_into().ok()?;
    Some(bitcoin::hashes::Hash::from_byte_array(hash))
}

#[cfg(test)]
mod tests;
