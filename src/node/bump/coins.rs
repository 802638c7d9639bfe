//! LDK's coin selection over the wallet, which also finds the fee rate that the coins can pay.

use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::{Psbt, Transaction, TxOut};
use lightning::chain::ClaimId;
use lightning::events::bump_transaction::sync::{
    CoinSelectionSourceSync, WalletSourceSync, WalletSync,
};
use lightning::events::bump_transaction::{CoinSelection, Input};

use super::outbox::QuietLogger;
use crate::sync::lock;
use crate::wallet::{Claim, ClaimCoins, Wallet};

/// Selects coins for one attempt at a time.
pub(super) struct Coins {
    wallet: Arc<Wallet>,
    attempt: Mutex<Attempt>,
}

#[derive(Default)]
struct Attempt {
    /// The claim that the coins are for. LDK changes its id when it splits a claim that is too large for
    /// one transaction.
    claim: Option<Claim>,
    /// The lowest acceptable rate, in sat per 1000 weight units.
    min_rate: u32,
    failed: bool,
    /// The highest rate of at least `min_rate` that the coins can pay, if they cannot pay the requested one.
    affordable: Option<u32>,
}

impl Coins {
    pub(super) fn new(wallet: Arc<Wallet>) -> Self {
        Self {
            wallet,
            attempt: Mutex::default(),
        }
    }

    /// Starts an attempt: the next selections are for this claim.
    pub(super) fn begin(&self, claim: Claim, min_rate: u32) {
        *self.lock() = Attempt {
            claim: Some(claim),
            min_rate,
            ..Attempt::default()
        };
    }

    /// The highest rate that the coins could have paid when the last attempt failed, in sat per 1000 weight
    /// units.
    pub(super) fn affordable(&self) -> Option<u32> {
        self.lock().affordable
    }

    fn lock(&self) -> MutexGuard<'_, Attempt> {
        lock(&self.attempt)
    }
}

impl CoinSelectionSourceSync for Coins {
    fn select_confirmed_utxos(
        &self,
        claim_id: ClaimId,
        must_spend: Vec<Input>,
        must_pay_to: &[TxOut],
        target: u32,
        max_tx_weight: u64,
    ) -> Result<CoinSelection, ()> {
        let mut attempt = self.lock();
        // LDK would continue with fewer HTLCs; `Bumper` decides which ones.
        if attempt.failed {
            return Err(());
        }
        let claim = Claim {
            id: claim_id.0,
            ..attempt.claim.ok_or(())?
        };
        attempt.claim = Some(claim);
        let select_from = |takes, rate| {
            let source = self.wallet.source_for(claim, takes);
            let change = change_of_child(&source, must_pay_to)?;
            let outputs = change.as_ref().map_or(must_pay_to, std::slice::from_ref);
            // A new source each time: the wallet tracks which claim uses which coin.
            let selection: WalletSync<Arc<ClaimCoins>, Arc<QuietLogger>> =
                WalletSync::new(Arc::new(source), Arc::new(QuietLogger));
            let inputs = must_spend.clone();
            selection
                .select_confirmed_utxos(claim_id, inputs, outputs, rate, max_tx_weight)
                .map(|selected| with_change(selected, change))
        };
        let urgent = claim.urgent;
        // Takes coins from other claims only if the rest do not suffice.
        let select = |rate| match select_from(false, rate) {
            Err(()) if urgent => select_from(true, rate),
            selected => selected,
        };
        let selected = select(target);
        if selected.is_err() {
            attempt.failed = true;
            attempt.affordable = highest(attempt.min_rate, target, |rate| select(rate).is_ok());
        }
        selected
    }

    fn sign_psbt(&self, psbt: Psbt) -> Result<Transaction, ()> {
        let claim = self.lock().claim.ok_or(())?;
        self.wallet.source_for(claim, false).sign_psbt(psbt)
    }
}

/// The minimum change of an anchor's child, selected for like an output to be paid. Without change, LDK
/// would give the child an empty OP_RETURN output, and Bitcoin Knots rejects transactions with nothing else
/// (`bare-datacarrier`).
fn change_of_child(source: &ClaimCoins, must_pay_to: &[TxOut]) -> Result<Option<TxOut>, ()> {
    if !must_pay_to.is_empty() {
        return Ok(None);
    }
    let script_pubkey = source.get_change_script()?;
    let value = script_pubkey.minimal_non_dust();
    Ok(Some(TxOut {
        value,
        script_pubkey,
    }))
}

/// Adds the minimum change to the selection.
fn with_change(mut selected: CoinSelection, minimum: Option<TxOut>) -> CoinSelection {
    if let Some(mut change) = minimum {
        if let Some(more) = &selected.change_output {
            change.value += more.value;
        }
        selected.change_output = Some(change);
    }
    selected
}

/// Returns the highest number in `min..limit` for which `accepts` is true, by bisection: `accepts` must
/// be false for everything above a number for which it is false.
fn highest(min: u32, limit: u32, accepts: impl Fn(u32) -> bool) -> Option<u32> {
    if min >= limit || !accepts(min) {
        return None;
    }
    let (mut good, mut bad) = (min, limit);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if accepts(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Some(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_finds_the_largest_accepted_number() {
        for limit in [254, 255, 1_000, u32::MAX] {
            for most in [252, 253, 254, 999, 5_000] {
                let expected = (most >= 253).then(|| most.min(limit - 1));
                assert_eq!(highest(253, limit, |n| n <= most), expected);
            }
        }
        assert_eq!(highest(253, 253, |_| true), None);
    }
}
