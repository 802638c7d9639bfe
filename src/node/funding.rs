//! Funding transactions: the wallet as seen by the channels module.

use std::sync::Arc;

use bitcoin::{Amount, FeeRate, ScriptBuf, Transaction};
use futures_util::future::{BoxFuture, FutureExt};

use crate::chain::{Bitcoind, FeeEstimates};
use crate::channels::anchor_reserve::AnchorReserve;
use crate::channels::open::{FundingFee, FundingWallet};
use crate::wallet::{Outputs, Spend, Wallet};

/// Funds channels while keeping the reserve that anchor channels need.
pub(super) struct Funding {
    pub(super) wallet: Arc<Wallet>,
    pub(super) fees: Arc<FeeEstimates>,
    pub(super) bitcoind: Arc<Bitcoind>,
    /// Already counts the channel that is being opened.
    pub(super) reserve: Arc<AnchorReserve>,
}

impl Funding {
    fn fee_rate(&self, fee: FundingFee) -> Result<FeeRate, String> {
        match fee {
            FundingFee::SatPerVbyte(rate) => FeeRate::from_sat_per_vb(rate)
                .ok_or_else(|| format!("fee rate of {rate} sat/vB is too high")),
            FundingFee::ConfirmIn(blocks) => Ok(FeeRate::from_sat_per_kwu(
                self.fees.sat_per_kw(blocks).into(),
            )),
        }
    }
}

impl FundingWallet for Funding {
    fn fund(
        &self,
        script: ScriptBuf,
        amount_sat: u64,
        fee: FundingFee,
    ) -> Result<Transaction, String> {
        let spend = Spend {
            outputs: Outputs::one(script, Amount::from_sat(amount_sat)),
            fee_rate: self.fee_rate(fee)?,
            min_confs: 1,
            reserve: self.reserve.required(),
            coins: Vec::new(),
        };
        self.wallet.fund(&spend).map_err(|error| error.to_string())
    }

    fn check(&self, transaction: Transaction) -> BoxFuture<'static, Result<(), String>> {
        let bitcoind = self.bitcoind.clone();
        async move {
            match bitcoind.refusal_of(&transaction).await {
                Ok(None) => Ok(()),
                Ok(Some(reason)) => Err(format!("bitcoind rejects it: {reason}")),
                Err(error) => Err(error.to_string()),
            }
        }
        .boxed()
    }

    fn cancel(&self, transaction: &Transaction) {
        if let Err(error) = self.wallet.cancel(transaction.compute_txid()) {
            tracing::debug!("cannot cancel an unused funding transaction: {error}");
        }
    }
}
