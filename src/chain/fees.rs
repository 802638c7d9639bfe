//! Fee rates for LDK and the wallet, from bitcoind's estimates, with bounds and fallbacks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lightning::chain::chaininterface::{
    ConfirmationTarget, FEERATE_FLOOR_SATS_PER_KW, FeeEstimator,
};
use tokio_util::sync::CancellationToken;

use super::bitcoind::{Bitcoind, EstimateMode};
use super::error::ChainError;

/// The lowest rate ever returned, in sat per 1000 weight units: 1 sat/vB, rounded up so that later
/// rounding down does not fall below the relay minimum.
const FLOOR: u32 = FEERATE_FLOOR_SATS_PER_KW;

/// The highest rate accepted from bitcoind, in sat per 1000 weight units (2000 sat/vB). The highest
/// rates so far (April 2024) were about 1800 sat/vB; more is a broken estimate.
const CEILING: u32 = 500_000;

/// How often estimates are refreshed. bitcoind updates them once per block.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// The pause after a failed refresh.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A confirmation target and the rate to use until bitcoind has an estimate for it.
struct Horizon {
    blocks: u16,
    mode: EstimateMode,
    /// sat per 1000 weight units.
    fallback: u32,
}

const fn horizon(blocks: u16, mode: EstimateMode, fallback: u32) -> Horizon {
    Horizon {
        blocks,
        mode,
        fallback,
    }
}

/// The requested targets, soonest first. The fallbacks (20, 12, 8, 4, 2 and 1 sat/vB) are the rates of an
/// ordinary day. They apply on regtest, where bitcoind never has an estimate, and during the first
/// minutes of a new bitcoind. The two soonest targets are conservative, because missing them costs money.
const HORIZONS: [Horizon; 6] = [
    horizon(2, EstimateMode::Conservative, 5_000),
    horizon(6, EstimateMode::Conservative, 3_000),
    horizon(12, EstimateMode::Economical, 2_000),
    horizon(36, EstimateMode::Economical, 1_000),
    horizon(144, EstimateMode::Economical, 500),
    horizon(1008, EstimateMode::Economical, FLOOR),
];

/// The latest fee estimates. Reading them never blocks.
///
/// A failed refresh leaves the last known rates in place: an old estimate is better than a constant.
#[derive(Debug)]
pub struct FeeEstimates {
    rates: [AtomicU32; HORIZONS.len()],
    mempool_min: AtomicU32,
}

impl Default for FeeEstimates {
    fn default() -> Self {
        let rates = HORIZONS.map(|horizon| AtomicU32::new(horizon.fallback));
        Self {
            rates,
            mempool_min: AtomicU32::new(FLOOR),
        }
    }
}

impl FeeEstimates {
    /// The same rate, in sat per 1000 weight units, for all targets.
    #[cfg(test)]
    pub(crate) fn flat(sat_per_kw: u32) -> Self {
        let fees = Self::default();
        for rate in &fees.rates {
            rate.store(sat_per_kw, Ordering::Relaxed);
        }
        fees
    }

    /// Fetches all estimates from `bitcoind`.
    ///
    /// # Errors
    /// The error of the first failed call; rates fetched before it are in use already.
    pub async fn refresh(&self, bitcoind: &Bitcoind) -> Result<(), ChainError> {
        self.mempool_min.store(
            bounded(bitcoind.mempool_min_fee().await?),
            Ordering::Relaxed,
        );
        for (horizon, rate) in HORIZONS.iter().zip(&self.rates) {
            if let Some(estimate) = bitcoind.estimate_fee(horizon.blocks, horizon.mode).await? {
                rate.store(bounded(estimate), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Refreshes once a minute until `stop` is cancelled.
    pub async fn keep_fresh(&self, bitcoind: &Bitcoind, stop: CancellationToken) {
        loop {
            let pause = match self.refresh(bitcoind).await {
                Ok(()) => REFRESH_INTERVAL,
                Err(error) => {
                    tracing::debug!(%error, "cannot refresh fee estimates");
                    RETRY_INTERVAL
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// The rate for confirmation within `blocks`, in sat per 1000 weight units, for the wallet.
    ///
    /// Uses the longest target that is not longer than `blocks`, but never less than the mempool's current
    /// minimum. 0 and 1 count as 2, the soonest target that bitcoind estimates.
    pub fn sat_per_kw(&self, blocks: u32) -> u32 {
        let fitting = HORIZONS
            .iter()
            .rposition(|horizon| u32::from(horizon.blocks) <= blocks);
        let rate = self.rates[fitting.unwrap_or(0)].load(Ordering::Relaxed);
        rate.max(self.mempool_min_sat_per_kw())
    }

    /// The default rate for cooperative closes, in sat per 1000 weight units.
    pub fn closing_sat_per_kw(&self) -> u32 {
        self.sat_per_kw(12)
    }

    /// The current minimum rate of bitcoind's mempool, in sat per 1000 weight units.
    pub fn mempool_min_sat_per_kw(&self) -> u32 {
        self.mempool_min.load(Ordering::Relaxed)
    }
}

impl FeeEstimator for FeeEstimates {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        match target {
            // An upper limit for the peer's fee rate, so well above any honest estimate: twice the soonest
            // target, and at least 40 sat/vB, so that a peer with other fallbacks is accepted.
            ConfirmationTarget::MaximumFeeEstimate => self
                .sat_per_kw(2)
                .saturating_mul(2)
                .clamp(10_000, 2 * CEILING),
            // Funds are at risk after tens of blocks, and LDK raises the fee as they pass.
            ConfirmationTarget::UrgentOnChainSweep => self.sat_per_kw(6),
            // Rejecting a peer's fee rate means a force close. An anchor commitment can be bumped; as part
            // of a package it may be below a full mempool's dynamic minimum, but not below the static relay
            // minimum of 1 sat/vB, so only the latter is required.
            ConfirmationTarget::MinAllowedAnchorChannelRemoteFee => FLOOR,
            // This commitment cannot be bumped: the estimate for a day, less 1 sat/vB for rounding
            // differences between estimators (LDK's recommendation).
            ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee => {
                self.sat_per_kw(144).saturating_sub(250).max(FLOOR)
            }
            // Only has to be accepted into mempools later: the estimate for a day leaves room for a rising
            // minimum, and a peer's own minimum is rarely higher.
            ConfirmationTarget::AnchorChannelFee => self.sat_per_kw(144),
            // Cannot be bumped and must confirm whenever it is needed. Also LDK's upper bound for a
            // cooperative close.
            ConfirmationTarget::NonAnchorChannelFee => self.closing_sat_per_kw(),
            // LDK force-closes rather than accept less. A peer that opened the channel chooses the fee it
            // pays, and we can bump it with our own output: so any rate that is relayed. The rate that we
            // pay ourselves is set when a close begins (`channels::close`).
            ConfirmationTarget::ChannelCloseMinimum => FLOOR,
            // Our own funds without a deadline: confirmation within a few hours.
            ConfirmationTarget::OutputSpendingFee => self.sat_per_kw(36),
        }
    }
}

/// Clamps bitcoind's estimate to sensible bounds.
fn bounded(sat_per_kw: u64) -> u32 {
    u32::try_from(sat_per_kw)
        .unwrap_or(CEILING)
        .clamp(FLOOR, CEILING)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: [ConfirmationTarget; 8] = [
        ConfirmationTarget::MaximumFeeEstimate,
        ConfirmationTarget::UrgentOnChainSweep,
        ConfirmationTarget::MinAllowedAnchorChannelRemoteFee,
        ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee,
        ConfirmationTarget::AnchorChannelFee,
        ConfirmationTarget::NonAnchorChannelFee,
        ConfirmationTarget::ChannelCloseMinimum,
        ConfirmationTarget::OutputSpendingFee,
    ];

    fn rate(fees: &FeeEstimates, target: ConfirmationTarget) -> u32 {
        fees.get_est_sat_per_1000_weight(target)
    }

    #[test]
    fn every_target_has_a_usable_fallback_rate() {
        let fees = FeeEstimates::default();
        for target in TARGETS {
            assert!(
                (FLOOR..=20_000).contains(&rate(&fees, target)),
                "{target:?}"
            );
        }
        let urgent = rate(&fees, ConfirmationTarget::UrgentOnChainSweep);
        assert!(urgent > rate(&fees, ConfirmationTarget::OutputSpendingFee));
        assert!(urgent < rate(&fees, ConfirmationTarget::MaximumFeeEstimate));
    }

    #[test]
    fn our_fee_rates_are_acceptable_to_a_peer_with_the_same_estimates() {
        for estimate in [FLOOR, 1_000, 50_000, CEILING] {
            let fees = FeeEstimates::flat(estimate);
            let anchor = rate(&fees, ConfirmationTarget::AnchorChannelFee);
            let other = rate(&fees, ConfirmationTarget::NonAnchorChannelFee);
            assert!(anchor >= rate(&fees, ConfirmationTarget::MinAllowedAnchorChannelRemoteFee));
            assert!(
                other
                    >= rate(
                        &fees,
                        ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee
                    )
            );
            assert!(anchor.max(other) <= rate(&fees, ConfirmationTarget::MaximumFeeEstimate));
        }
    }

    #[test]
    fn wallet_rate_uses_the_longest_target_within_the_limit() {
        let fees = FeeEstimates::default();
        let rates = [0, 1, 2, 5, 6, 11, 12, 143, 144, 1007, 1008, u32::MAX];
        let expected = [
            5_000, 5_000, 5_000, 5_000, 3_000, 3_000, 2_000, 1_000, 500, 500, FLOOR, FLOOR,
        ];
        assert_eq!(rates.map(|blocks| fees.sat_per_kw(blocks)), expected);
    }

    #[test]
    fn full_mempool_raises_our_rates_but_not_the_anchor_minimum() {
        let fees = FeeEstimates::default();
        fees.mempool_min.store(7_000, Ordering::Relaxed);
        assert_eq!(fees.sat_per_kw(1008), 7_000);
        assert_eq!(rate(&fees, ConfirmationTarget::AnchorChannelFee), 7_000);
        assert_eq!(
            rate(&fees, ConfirmationTarget::MinAllowedAnchorChannelRemoteFee),
            FLOOR
        );
    }

    #[test]
    fn closing_minimum_is_the_relay_minimum() {
        let fees = FeeEstimates::flat(50_000);
        assert_eq!(rate(&fees, ConfirmationTarget::ChannelCloseMinimum), FLOOR);
        assert_eq!(fees.closing_sat_per_kw(), 50_000);
    }

    #[test]
    fn estimates_are_clamped() {
        assert_eq!(bounded(0), FLOOR);
        assert_eq!(bounded(1_234), 1_234);
        assert_eq!(bounded(u64::MAX), CEILING);
    }
}
