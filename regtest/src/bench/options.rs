//! What to measure, and for how long.

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::MAX_HTLCS;
use super::kinds::{self, Kind};
use super::pair::{self, Pair};
use super::ratio;
use crate::binaries::LndBinaries;

/// What lnd takes part in is measured with at most so many payments at a time.
const MOST_AT_A_TIME: usize = 64;
/// The kinds between ampd and lnd: the two that the comparison is about.
const MIXED_KINDS: [Kind; 2] = [Kind::Bolt11, Kind::AmpKey];

/// What to measure, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only these kinds of payments
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = kinds::ALL)]
    pub(super) kinds: Vec<Kind>,
    /// How many payments at a time; more than a channel has room for are made fewer
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, MAX_HTLCS])]
    pub(super) concurrency: Vec<usize>,
    /// The most payments for one line of the table
    #[arg(long, default_value_t = 4_000)]
    pub(super) payments: usize,
    /// The most seconds for one line of the table
    #[arg(long, default_value_t = 8)]
    pub(super) seconds: u64,
    /// Measure each line so often and print the fastest
    #[arg(long, default_value_t = 1)]
    pub(super) repeat: u32,
    /// Then pay one static invoice so often, and compare the first payments with the last; 0: do not
    #[arg(long, default_value_t = 10_000)]
    pub(super) static_payments: usize,
    /// Instead: payments to the donation page at 50 a second, each line for --seconds, without and with
    /// 1,000 open pages that hear of each; print the ratio
    #[arg(long, conflicts_with_all = ["kinds", "concurrency", "payments", "repeat", "static_payments", "against"])]
    pub(super) donations: bool,
    /// Then measure the same between two nodes of this program, and between one of them and ampd;
    /// print the ratios, and compare no invoice's first payments with its last
    #[arg(long, value_enum)]
    pub(super) against: Option<Rival>,
}

/// A program to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rival {
    /// The one that the variables `LND_EXE` and `LNCLI_EXE` name
    Lnd,
}

impl Options {
    /// Checks that all programs are there, before anything takes time.
    ///
    /// # Errors
    /// If there is no lnd and it is to be measured.
    pub fn check(&self) -> Result<()> {
        if self.against.is_some() {
            LndBinaries::named()?
                .context("--against lnd needs LND_EXE and LNCLI_EXE to name lnd and lncli")?;
        }
        Ok(())
    }

    /// What of it one pair is to do.
    pub(super) fn of(&self, pair: Pair) -> Self {
        let mut options = self.clone();
        if pair != pair::AMPD {
            options
                .concurrency
                .retain(|wanted| *wanted <= MOST_AT_A_TIME);
        }
        if pair::MIXED.contains(&pair) {
            options.kinds.retain(|kind| MIXED_KINDS.contains(kind));
        }
        options
    }

    /// Whether nothing is to be measured.
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty() || self.concurrency.is_empty()
    }

    /// Whether AMP to a key is to be compared with BOLT 11.
    pub(super) fn has_both(&self) -> bool {
        let kinds = [Kind::AmpKey, Kind::Bolt11];
        kinds.iter().all(|kind| self.kinds.contains(kind))
            && self.concurrency.contains(&ratio::AT_A_TIME)
    }
}
