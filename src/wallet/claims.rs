//! Coins that LDK's claims on the chain (anchor children, HTLC transactions) are paid with.
//!
//! Such a transaction may wait in the mempool and is replaced when fees rise, with the same coins. So they
//! are kept from everything else, over restarts, too: who spends them otherwise takes the fee away.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bitcoin::{OutPoint, Psbt, Transaction};
use lightning::events::bump_transaction::Utxo;
use serde::{Deserialize, Serialize};

use super::error::WalletError;
use super::ldk_source::p2wpkh_hash;
use super::log::Record;
use super::on_chain::{State, Wallet};

/// Blocks after which a coin that a claim used, and has not used again, is free for payments.
const CLAIM_BLOCKS: u32 = 144;

/// Blocks after which the log hears again that a claim still uses a coin.
const BLOCKS_PER_RECORD: u32 = CLAIM_BLOCKS / 4;

/// A claim that has not used its coins for so long is over: LDK repeats each pending claim every 30 s.
const CLAIM_LIFE: Duration = Duration::from_secs(600);

/// A claim that needs coins of the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The same for all transactions that replace each other.
    pub id: [u8; 32],
    /// Whether HTLCs depend on it.
    pub urgent: bool,
}

/// The last use of a coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Use {
    claim: Claim,
    /// Height of the wallet's best block.
    height: u32,
}

/// All coins that claims have used.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<OutPoint, (Use, Instant)>);

impl Claims {
    /// After a restart all of them may still be alive.
    pub(super) fn new(stored: BTreeMap<OutPoint, Use>) -> Self {
        let now = Instant::now();
        let uses = stored.into_iter();
        Self(uses.map(|(coin, last)| (coin, (last, now))).collect())
    }

    /// Coins that payments must not spend.
    pub(super) fn coins(&self, tip: u32) -> impl Iterator<Item = OutPoint> {
        let recent = move |last: &Use| tip.saturating_sub(last.height) < CLAIM_BLOCKS;
        let recent = self.0.iter().filter(move |(_, (last, _))| recent(last));
        recent.map(|(coin, _)| *coin)
    }

    /// The other claim that needs this coin.
    fn other(&self, coin: &OutPoint, id: [u8; 32]) -> Option<Claim> {
        let (last, at) = self.0.get(coin)?;
        (last.claim.id != id && at.elapsed() < CLAIM_LIFE).then_some(last.claim)
    }

    fn is_alive(&self, id: [u8; 32]) -> bool {
        let mut uses = self.0.values();
        uses.any(|(last, at)| last.claim.id == id && at.elapsed() < CLAIM_LIFE)
    }

    /// Returns whether the log has to know.
    fn put(&mut self, coin: OutPoint, last: Use) -> bool {
        if let Some((before, at)) = self.0.get_mut(&coin)
            && before.claim == last.claim
            && last.height < before.height.saturating_add(BLOCKS_PER_RECORD)
        {
            *at = Instant::now();
            return false;
        }
        self.0.insert(coin, (last, Instant::now()));
        true
    }
}

impl Wallet {
    /// Coins that this claim may use: confirmed ones that are neither leased, nor spent by a transaction
    /// of ours, nor needed by another claim. Those that it has used already are among them.
    ///
    /// A claim that `takes` is offered those of claims that are not urgent, too.
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

    /// Signs our inputs for a claim, and keeps their coins for it from now on.
    ///
    /// # Errors
    /// If an input asks for a signature that does not exist, or the log cannot be written.
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

    /// Whether this claim has used coins a short time ago.
    pub fn is_claiming(&self, id: [u8; 32]) -> bool {
        self.lock().claims.is_alive(id)
    }
}

impl State {
    fn claim_inputs(&mut self, tx: &Transaction, claim: Claim) -> BTreeMap<OutPoint, Use> {
        let height = self.bdk.latest_checkpoint().height();
        let coins = tx.input.iter().map(|input| input.previous_output);
        let own: Vec<OutPoint> = coins
            .filter(|coin| self.own_output(coin).is_some())
            .collect();
        let bdk = &self.bdk;
        let claims = &mut self.claims;
        claims.0.retain(|coin, _| bdk.get_utxo(*coin).is_some());
        let last = Use { claim, height };
        let told = own.into_iter().filter(|coin| claims.put(*coin, last));
        told.map(|coin| (coin, last)).collect()
    }
}

/// Uses that still count at this height, for a log that is written anew.
pub(super) fn still_counting(claimed: &mut BTreeMap<OutPoint, Use>, tip: u32) {
    claimed.retain(|_, last| tip.saturating_sub(last.height) < CLAIM_BLOCKS);
}

#[cfg(test)]
mod tests;
