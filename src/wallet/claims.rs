//! Coins that pay for LDK's on-chain claims (anchor children, HTLC transactions).
//!
//! Such a transaction may wait in the mempool, and is replaced with the same coins when fees rise. So the
//! coins are reserved, across restarts: spending them elsewhere would remove the claim's fee.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bitcoin::{OutPoint, Psbt, Transaction};
use lightning::events::bump_transaction::Utxo;
use serde::{Deserialize, Serialize};

use super::error::WalletError;
use super::ldk_source::p2wpkh_hash;
use super::log::Record;
use super::on_chain::{State, Wallet};

/// Number of blocks after which a coin is free for payments if its claim has not used it again.
const CLAIM_BLOCKS: u32 = 144;

/// Number of blocks after which continued use of a coin is logged again.
const BLOCKS_PER_RECORD: u32 = CLAIM_BLOCKS / 4;

/// Time after which an unused claim is considered finished. LDK repeats each pending claim every 30 s.
const CLAIM_LIFE: Duration = Duration::from_secs(600);

/// A claim that needs coins of the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The id, the same for all transactions that replace each other.
    pub id: [u8; 32],
    /// Whether it claims HTLCs, or closes a channel with pending HTLCs.
    pub urgent: bool,
}

/// The last use of a coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Use {
    claim: Claim,
    /// Height of the wallet's best block at that time.
    height: u32,
}

/// All coins that claims have used.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<OutPoint, (Use, Instant)>);

impl Claims {
    /// Restores stored uses. All of them count as alive, because LDK may repeat them.
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

    /// Returns the other live claim that uses this coin.
    fn other(&self, coin: &OutPoint, id: [u8; 32]) -> Option<Claim> {
        let (last, at) = self.0.get(coin)?;
        (last.claim.id != id && at.elapsed() < CLAIM_LIFE).then_some(last.claim)
    }

    fn is_alive(&self, id: [u8; 32]) -> bool {
        let mut uses = self.0.values();
        uses.any(|(last, at)| last.claim.id == id && at.elapsed() < CLAIM_LIFE)
    }

    /// Records a use. Returns whether it has to be written to the log.
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
        let recorded = own.into_iter().filter(|coin| claims.put(*coin, last));
        recorded.map(|coin| (coin, last)).collect()
    }
}

/// Keeps only uses that are relevant at height `tip`, for compacting the log.
pub(super) fn still_counting(claimed: &mut BTreeMap<OutPoint, Use>, tip: u32) {
    claimed.retain(|_, last| tip.saturating_sub(last.height) < CLAIM_BLOCKS);
}

#[cfg(test)]
mod tests;
