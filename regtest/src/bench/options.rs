//! Command line options of the benchmark.

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::MAX_HTLCS;
use super::kinds::{self, Kind};
use super::pair::{self, Pair};
use crate::binaries::LndBinaries;

/// Maximum concurrency of measurements that involve lnd.
const MAX_CONCURRENCY_WITH_LND: usize = 64;
/// The kinds measured between ampd and lnd: the two being compared.
const MIXED_KINDS: [Kind; 2] = [Kind::Bolt11, Kind::AmpKey];

/// The options that do not apply to the donation page.
const PAYMENT_OPTIONS: [&str; 7] = [
    "kinds",
    "concurrency",
    "payments",
    "repeat",
    "static_payments",
    "against",
    "channels",
];

/// Options of the benchmark.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Measure only these kinds of payments
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = kinds::ALL)]
    pub(super) kinds: Vec<Kind>,
    /// Number of payments in flight; lowered to what the channel can carry
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, MAX_HTLCS])]
    pub(super) concurrency: Vec<usize>,
    /// Maximum number of payments per line of the table
    #[arg(long, default_value_t = 4_000)]
    pub(super) payments: usize,
    /// Maximum number of seconds per line of the table
    #[arg(long, default_value_t = 8)]
    pub(super) seconds: u64,
    /// Measure each line this many times and print the fastest
    #[arg(long, default_value_t = 1)]
    pub(super) repeat: u32,
    /// Then pay one static invoice this many times and compare the first payments with the last; 0 skips it
    #[arg(long, default_value_t = 10_000)]
    pub(super) static_payments: usize,
    /// Instead, pay the donation page's invoice 50 times a second without and with 1,000 open pages
    /// receiving events, each line for --seconds, and print the ratio
    #[arg(long, conflicts_with_all = PAYMENT_OPTIONS)]
    pub(super) donations: bool,
    /// Measure again after opening channels of the payer until it has this many, and print the ratios. Skips
    /// the static invoice comparison
    #[arg(long, default_value_t = 1, conflicts_with = "against")]
    pub(super) channels: usize,
    /// Then measure two nodes of this program, and one of them with ampd, and print the ratios.
    /// Skips the static invoice comparison
    #[arg(long, value_enum)]
    pub(super) against: Option<Rival>,
}

/// A program to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Rival {
    /// The lnd given by `LND_EXE` and `LNCLI_EXE`
    Lnd,
}

impl Options {
    /// Checks that all required programs exist before anything is started.
    ///
    /// # Errors
    /// If lnd is to be measured but was not found.
    pub fn check(&self) -> Result<()> {
        if self.against.is_some() {
            LndBinaries::named()?
                .context("--against lnd requires LND_EXE and LNCLI_EXE to name lnd and lncli")?;
        }
        Ok(())
    }

    /// The options that apply to one pair.
    pub(super) fn of(&self, pair: Pair) -> Self {
        let mut options = self.clone();
        if pair != pair::AMPD {
            options
                .concurrency
                .retain(|wanted| *wanted <= MAX_CONCURRENCY_WITH_LND);
        }
        if pair::MIXED.contains(&pair) {
            options.kinds.retain(|kind| MIXED_KINDS.contains(kind));
        }
        options
    }

    /// Whether there is nothing to measure.
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty() || self.concurrency.is_empty()
    }
}
