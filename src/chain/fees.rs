//! Fee rates for LDK and for the wallet, from bitcoind's estimates, with floors and fallbacks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lightning::chain::chaininterface::{
    ConfirmationTarget, FEERATE_FLOOR_SATS_PER_KW, FeeEstimator,
};
use tokio_util::sync::CancellationToken;

use super::bitcoind::{Bitcoind, EstimateMode};
use super::error::ChainError;

/// Lowest rate that is ever returned, in sat per 1000 weight units: 1 sat/vB, rounded up so that a
/// later rounding down does not fall below the relay minimum.
const FLOOR: u32 = FEERATE_FLOOR_SATS_PER_KW;

/// Highest rate that is taken from bitcoind, in sat per 1000 weight units (2000 sat/vB). The worst
/// hour so far (April 2024) saw about 1800 sat/vB; more is a broken estimate.
const CEILING: u32 = 500_000;

/// How often estimates are asked for. bitcoind updates them once per block.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// How soon a failed refresh is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// One question to bitcoind, and the answer to use until it has one.
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

/// What is asked, soonest first. The fallbacks (20, 12, 8, 4, 2 and 1 sat/vB) are those of an
/// ordinary day; they count on regtest, where bitcoind never has an estimate, and in the first
/// minutes of a fresh bitcoind. The two soonest are conservative: being late there costs money.
const HORIZONS: [Horizon; 6] = [
    horizon(2, EstimateMode::Conservative, 5_000),
    horizon(6, EstimateMode::Conservative, 3_000),
    horizon(12, EstimateMode::Economical, 2_000),
    horizon(36, EstimateMode::Economical, 1_000),
    horizon(144, EstimateMode::Economical, 500),
    horizon(1008, EstimateMode::Economical, FLOOR),
];

/// The latest fee estimates; reading them never waits.
///
/// A failed refresh leaves the last known rates in place: an old estimate of the real market is
/// better than a constant.
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
    /// The same rate, in sat per 1000 weight units, for any number of blocks.
    #[cfg(test)]
    pub(crate) fn flat(sat_per_kw: u32) -> Self {
        let fees = Self::default();
        for rate in &fees.rates {
            rate.store(sat_per_kw, Ordering::Relaxed);
        }
        fees
    }

    /// Asks `bitcoind` for all estimates.
    ///
    /// # Errors
    /// The first call that fails; rates that were read before it are already in use.
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
                    tracing::debug!(%error, "fee estimates not refreshed");
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
    /// Takes the longest horizon that is not longer than `blocks`, and never less than the mempool
    /// takes now. 0 and 1 count as 2, the soonest that bitcoind estimates.
    pub fn sat_per_kw(&self, blocks: u32) -> u32 {
        let fitting = HORIZONS
            .iter()
            .rposition(|horizon| u32::from(horizon.blocks) <= blocks);
        let rate = self.rates[fitting.unwrap_or(0)].load(Ordering::Relaxed);
        rate.max(self.mempool_min_sat_per_kw())
    }

    /// What we pay for a cooperative close if nobody says otherwise, in sat per 1000 weight units.
    pub fn closing_sat_per_kw(&self) -> u32 {
        self.sat_per_kw(12)
    }

    /// The lowest rate that bitcoind's mempool takes now, in sat per 1000 weight units.
    pub fn mempool_min_sat_per_kw(&self) -> u32 {
        self.mempool_min.load(Ordering::Relaxed)
    }
}

impl FeeEstimator for FeeEstimates {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        match target {
            // A limit for what the peer may ask, so well above anybody's honest estimate: twice the
            // soonest, and at least 40 sat/vB, so that a peer with other fallbacks passes.
            ConfirmationTarget::MaximumFeeEstimate => self
                .sat_per_kw(2)
                .saturating_mul(2)
                .clamp(10_000, 2 * CEILING),
            // Money can be stolen after tens of blocks, and LDK raises the fee as they pass.
            ConfirmationTarget::UrgentOnChainSweep => self.sat_per_kw(6),
            // Refusing a peer's fee means a force close. An anchor commitment can be bumped, and as a
            // package it passes a full mempool's rising minimum, though not the fixed relay minimum
            // of 1 sat/vB: so that, and nothing above it.
            ConfirmationTarget::MinAllowedAnchorChannelRemoteFee => FLOOR,
            // This commitment cannot be bumped; a day's estimate, less 1 sat/vB for estimators that
            // round (LDK's advice).
            ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee => {
                self.sat_per_kw(144).saturating_sub(250).max(FLOOR)
            }
            // Only has to enter mempools at some later time: a day's estimate leaves room for a
            // rising minimum, and a peer's own lowest rate is hardly above it.
            ConfirmationTarget::AnchorChannelFee => self.sat_per_kw(144),
            // Cannot be bumped, must confirm whenever it is needed; also LDK's upper bound for a
            // cooperative close.
            ConfirmationTarget::NonAnchorChannelFee => self.closing_sat_per_kw(),
            // LDK closes by force rather than take less. A peer that opened the channel pays for the
            // close as it likes, and our own output can raise the fee: so whatever is relayed. What
            // we pay ourselves is said when a close begins (`channels::close`).
            ConfirmationTarget::ChannelCloseMinimum => FLOOR,
            // Our own money with no clock running; a few hours keep the wait bearable.
            ConfirmationTarget::OutputSpendingFee => self.sat_per_kw(36),
        }
    }
}

/// Brings what bitcoind said into the bounds of a sensible rate.
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
    fn without_estimates_every_target_has_a_usable_rate() {
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
    fn what_we_offer_passes_a_peer_that_thinks_like_us() {
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
    fn a_wallet_target_uses_the_longest_horizon_within_it() {
        let fees = FeeEstimates::default();
        let rates = [0, 1, 2, 5, 6, 11, 12, 143, 144, 1007, 1008, u32::MAX];
        let expected = [
            5_000, 5_000, 5_000, 5_000, 3_000, 3_000, 2_000, 1_000, 500, 500, FLOOR, FLOOR,
        ];
        assert_eq!(rates.map(|blocks| fees.sat_per_kw(blocks)), expected);
    }

    #[test]
    fn a_full_mempool_raises_what_we_pay_but_not_what_we_demand_of_anchors() {
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
    fn a_close_for_which_the_peer_pays_may_cost_as_little_as_is_relayed() {
        let fees = FeeEstimates::flat(50_000);
        assert_eq!(rate(&fees, ConfirmationTarget::ChannelCloseMinimum), FLOOR);
        assert_eq!(fees.closing_sat_per_kw(), 50_000);
    }

    #[test]
    fn absurd_estimates_are_brought_into_bounds() {
        assert_eq!(bounded(0), FLOOR);
        assert_eq!(bounded(1_234), 1_234);
        assert_eq!(bounded(u64::MAX), CEILING);
    }
}
