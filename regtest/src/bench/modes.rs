//! What the benchmark can measure instead of two ampd with one channel.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;

use super::cold_start::Scale;
use super::soak;
use crate::binaries::LndBinaries;

/// The options of which one may be chosen.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "mode", multiple = false)]
#[command(next_help_heading = "Modes (at most one)")]
pub(super) struct Modes {
    /// Measure two nodes of this program in turn with two ampd, then one of it with one ampd, and print the
    /// ratios
    #[arg(long, value_enum)]
    against: Option<Rival>,
    /// Measure two ampd in turn with two of this other ampd, and print the ratios
    #[arg(long, value_name = "OTHER_AMPD")]
    compare: Option<PathBuf>,
    /// Measure a payer with this many channels in turn with a payer that has one, and print the ratios
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = RangedU64ValueParser::<usize>::new().range(2..)
    )]
    channels: Option<usize>,
    /// Measure payments that a third ampd forwards
    #[arg(long)]
    forward: bool,
    /// Pay the donation page's invoice 50 times a second without and with 1,000 open pages receiving
    /// events, each line for --seconds, and print the ratio
    #[arg(long)]
    donations: bool,
    /// Pay AMP to a key, 64 at once, for this long, for example 10m, and compare the last minute with the
    /// first. Prints a line per minute with the rate, memory and database sizes
    #[arg(long, value_name = "TIME", value_parser = soak::length)]
    soak: Option<Duration>,
    /// Restart a node five times that has 100 channels and made 10,000 payments, then with 1,000 channels,
    /// and print how long it takes to answer and its memory; or with other numbers
    #[arg(
        long,
        value_name = "CHANNELS,PAYMENTS,CHANNELS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "100,10000,1000"
    )]
    cold_start: Option<Scale>,
}

/// A program to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rival {
    /// The lnd given by `LND_EXE` and `LNCLI_EXE`
    Lnd,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Two ampd.
    Payments,
    /// Two ampd, two lnd, and one of each.
    Lnd,
    /// Two of this ampd, and two of that.
    Compare(PathBuf),
    /// A payer with this many channels, and one with one.
    Channels(usize),
    /// Three ampd.
    Forward,
    /// A donation page.
    Donations,
    /// Two ampd under constant load for this long.
    Soak(Duration),
    /// Restarts of an ampd.
    ColdStart(Scale),
}

impl Mode {
    /// The name of its option.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Lnd => "against-lnd",
            Self::Compare(_) => "compare",
            Self::Channels(_) => "channels",
            Self::Forward => "forward",
            Self::Donations => "donations",
            Self::Soak(_) => "soak",
            Self::ColdStart(_) => "cold-start",
        }
    }
}

impl Modes {
    /// The chosen mode.
    pub(super) fn chosen(&self) -> Mode {
        if let Some(Rival::Lnd) = self.against {
            return Mode::Lnd;
        }
        if let Some(other) = &self.compare {
            return Mode::Compare(other.clone());
        }
        if let Some(channels) = self.channels {
            return Mode::Channels(channels);
        }
        if self.forward {
            return Mode::Forward;
        }
        if self.donations {
            return Mode::Donations;
        }
        if let Some(length) = self.soak {
            return Mode::Soak(length);
        }
        if let Some(scale) = self.cold_start {
            return Mode::ColdStart(scale);
        }
        Mode::Payments
    }

    /// Checks that the programs of the chosen mode exist.
    ///
    /// # Errors
    /// If one does not.
    pub(super) fn check(&self) -> Result<()> {
        if self.against.is_some() {
            LndBinaries::named()?
                .context("--against lnd requires LND_EXE and LNCLI_EXE to name lnd and lncli")?;
        }
        if let Some(other) = &self.compare {
            let is_file = other.is_file();
            ensure!(is_file, "--compare: {} is not a file", other.display());
        }
        Ok(())
    }
}
