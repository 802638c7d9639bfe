//! Builds transactions with bdk: coin selection, the reserve, and checks of the request.

use std::collections::HashMap;

use bdk_wallet::coin_selection::DefaultCoinSelectionAlgorithm;
use bdk_wallet::error::CreateTxError;
use bdk_wallet::{KeychainKind, TxBuilder, TxOrdering};
use bitcoin::{Amount, FeeRate, OutPoint, Psbt, ScriptBuf, Transaction, TxOut};

use super::error::WalletError;
use super::spend::{Outputs, Spend};
use super::state::State;

/// Minimum fee rate, in sat per 1000 weight units: 1 sat/vB, the default relay minimum.
const MIN_FEE_RATE: u64 = 250;

/// Maximum fee rate, in sat per 1000 weight units: 5000 sat/vB, more than any block ever required.
const MAX_FEE_RATE: u64 = 1_250_000;

/// bdk's builder with its default coin selection.
pub(super) type Builder<'a> = TxBuilder<'a, DefaultCoinSelectionAlgorithm>;

impl State {
    /// Builds an unsigned transaction. `refine` sets further options of bdk's builder.
    pub(super) fn prepare(
        &mut self,
        spend: &Spend,
        refine: impl Fn(&mut Builder<'_>),
    ) -> Result<Psbt, WalletError> {
        check_fee_rate(spend.fee_rate)?;
        let have = self.available(spend)?;
        // Checked here because bdk panics if sums overflow.
        let least = match &spend.outputs {
            Outputs::Exactly(outputs) => check_outputs(outputs)?,
            Outputs::All(_) => spend.reserve,
        };
        if least > have {
            return Err(WalletError::InsufficientFunds { have, need: least });
        }
        let built = match &spend.outputs {
            // Prefers to leave confirmed coins worth the reserve unspent: otherwise the reserve would be
            // change, which claims cannot use until it is confirmed.
            Outputs::Exactly(outputs) => match self.coins_for_reserve(spend) {
                kept if kept.is_empty() => self.build_exactly(spend, outputs, &refine, kept),
                kept => self
                    .build_exactly(spend, outputs, &refine, kept)
                    .or_else(|_| self.build_exactly(spend, outputs, &refine, Vec::new())),
            },
            Outputs::All(to) => self.build_all(spend, to),
        };
        let psbt = built.map_err(|error| create_error(error, have))?;
        self.check_reserve(&psbt.unsigned_tx, spend.reserve)?;
        Ok(psbt)
    }

    fn build_exactly(
        &mut self,
        spend: &Spend,
        outputs: &[TxOut],
        refine: &impl Fn(&mut Builder<'_>),
        kept: Vec<OutPoint>,
    ) -> Result<Psbt, CreateTxError> {
        let mut reserved = self.reserved_now();
        reserved.extend(kept);
        let mut builder = self.bdk.build_tx();
        restrict(&mut builder, spend, reserved)?;
        for output in outputs {
            builder.add_recipient(output.script_pubkey.clone(), output.value);
        }
        refine(&mut builder);
        builder.finish()
    }

    /// Sends all coins to one output, and the reserve, if any, to a change address (as lnd does).
    fn build_all(&mut self, spend: &Spend, to: &ScriptBuf) -> Result<Psbt, CreateTxError> {
        let reserved = self.reserved_now();
        let own = self
            .bdk
            .next_unused_address(KeychainKind::Internal)
            .address
            .script_pubkey();
        let mut builder = self.bdk.build_tx();
        restrict(&mut builder, spend, reserved)?;
        builder
            .drain_wallet()
            .drain_to(to.clone())
            .ordering(TxOrdering::Shuffle);
        if spend.reserve > Amount::ZERO {
            builder.add_recipient(own, spend.reserve);
        }
        let psbt = builder.finish()?;
        let paid = psbt
            .unsigned_tx
            .output
            .iter()
            .any(|out| out.script_pubkey == *to);
        if paid {
            return Ok(psbt);
        }
        // Nothing is left after the reserve.
        let needed = spend.reserve + to.minimal_non_dust();
        let missing = bdk_wallet::coin_selection::InsufficientFunds {
            needed,
            available: needed,
        };
        Err(CreateTxError::CoinSelection(missing))
    }

    /// Releases the change address of a transaction that is not going to be used.
    pub(super) fn forget_change(&mut self, psbt: &Psbt) {
        for output in &psbt.unsigned_tx.output {
            let script = output.script_pubkey.clone();
            if let Some((keychain, index)) = self.bdk.derivation_of_spk(script) {
                self.bdk.unmark_used(keychain, index);
            }
        }
    }

    /// The total value of the coins that may be spent.
    fn available(&self, spend: &Spend) -> Result<Amount, WalletError> {
        let free = self
            .free_outputs()
            .filter(|coin| self.confirmations(coin) >= spend.min_confs);
        let free = free.map(|coin| (coin.outpoint, coin.txout.value));
        if spend.coins.is_empty() {
            return Ok(free.map(|(_, value)| value).sum());
        }
        let free: HashMap<OutPoint, Amount> = free.collect();
        let value = |coin| {
            free.get(coin)
                .copied()
                .ok_or(WalletError::CoinNotFree(*coin))
        };
        spend.coins.iter().map(value).sum()
    }

    /// Checks that the wallet still holds `reserve` after `tx`, in change and in coins that claims can use
    /// (confirmed, neither leased nor claimed).
    pub(super) fn check_reserve(
        &self,
        tx: &Transaction,
        reserve: Amount,
    ) -> Result<(), WalletError> {
        let spends = |coin| tx.input.iter().any(|input| input.previous_output == coin);
        let kept = self.usable_outputs().filter(|coin| !spends(coin.outpoint));
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

    /// Chooses coins to leave for the reserve: the smallest one that covers it, or else several. Empty if the
    /// request selects its coins or if the coins do not suffice.
    fn coins_for_reserve(&self, spend: &Spend) -> Vec<OutPoint> {
        if spend.reserve == Amount::ZERO || !spend.coins.is_empty() {
            return Vec::new();
        }
        let mut coins: Vec<(Amount, OutPoint)> = self
            .usable_outputs()
            .map(|coin| (coin.txout.value, coin.outpoint))
            .collect();
        coins.sort_unstable();
        if let Some((_, coin)) = coins.iter().find(|(value, _)| *value >= spend.reserve) {
            return vec![*coin];
        }
        let mut sum = Amount::ZERO;
        let mut kept = Vec::new();
        for (value, coin) in coins.into_iter().rev() {
            if sum >= spend.reserve {
                break;
            }
            sum += value;
            kept.push(coin);
        }
        if sum < spend.reserve {
            kept.clear();
        }
        kept
    }
}

/// Applies the coin and fee options of a [`Spend`].
fn restrict(
    builder: &mut Builder<'_>,
    spend: &Spend,
    reserved: Vec<OutPoint>,
) -> Result<(), CreateTxError> {
    builder
        .unspendable(reserved)
        .exclude_below_confirmations(spend.min_confs)
        .fee_rate(spend.fee_rate);
    if spend.coins.is_empty() {
        return Ok(());
    }
    let chosen = builder.add_utxos(&spend.coins);
    chosen.map_err(|_| CreateTxError::UnknownUtxo)?;
    builder.manually_selected_only();
    Ok(())
}

/// Converts bdk's errors.
pub(super) fn create_error(error: CreateTxError, have: Amount) -> WalletError {
    match error {
        CreateTxError::CoinSelection(missing) => WalletError::InsufficientFunds {
            have,
            need: missing.needed,
        },
        CreateTxError::FeeRateTooLow { required } => WalletError::ReplacementRate(required),
        other => WalletError::Internal(other.to_string()),
    }
}

/// Checks all outputs against the dust limit and returns their sum.
fn check_outputs(outputs: &[TxOut]) -> Result<Amount, WalletError> {
    if outputs.is_empty() {
        return Err(WalletError::NoOutputs);
    }
    for output in outputs {
        check_dust(output.value, &output.script_pubkey)?;
    }
    let mut values = outputs.iter().map(|output| output.value);
    let sum = values.try_fold(Amount::ZERO, Amount::checked_add);
    Ok(sum.unwrap_or(Amount::MAX))
}

/// Checks that the fee rate is between the minimum and the maximum.
pub(super) fn check_fee_rate(rate: FeeRate) -> Result<(), WalletError> {
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
