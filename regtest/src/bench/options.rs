//! Command line options of the benchmark.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::RangedU64ValueParser;

use super::kinds::{self, Kind, MAX_HTLCS};
use super::modes::{Mode, Modes};
use super::pair::{self, Pair};

/// Numbers of payments in flight by default; the last is what the channel can carry.
const CONCURRENCY: [usize; 4] = [1, 16, 64, MAX_HTLCS];
/// The same, and the kinds, of forwarded payments.
const FORWARDED_CONCURRENCY: [usize; 3] = [1, 16, 64];
const FORWARDED_KINDS: [Kind; 2] = [Kind::Bolt11, Kind::AmpKey];
/// Maximum concurrency of measurements that involve lnd.
const MAX_CONCURRENCY_WITH_LND: usize = 64;
/// The kinds measured between ampd and lnd: the two being compared.
const MIXED_KINDS: [Kind; 2] = [Kind::Bolt11, Kind::AmpKey];
/// How often donations are measured by default.
const DONATION_ROUNDS: usize = 5;
/// The modes whose payments are not chosen by options.
const FIXED_PAYMENTS: [&str; 3] = ["cold_start", "donations", "soak"];
/// The modes whose length and number of measurements are not chosen by options.
const FIXED_LENGTH: [&str; 2] = ["cold_start", "soak"];

/// Options of the benchmark. Without a mode, it measures two ampd with one channel.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Measure only these kinds of payments [default: all, with --forward bolt11,amp-key]
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with_all = FIXED_PAYMENTS)]
    kinds: Vec<Kind>,
    /// Number of payments in flight; lowered to what the channel can carry [default: 1,16,64,483, with
    /// --forward 1,16,64]
    #[arg(long, value_delimiter = ',', conflicts_with_all = FIXED_PAYMENTS)]
    concurrency: Vec<usize>,
    /// Maximum number of payments per measurement
    #[arg(long, default_value_t = 4_000, conflicts_with_all = FIXED_PAYMENTS)]
    pub(super) payments: usize,
    /// Maximum number of seconds per measurement
    #[arg(long, default_value_t = 8, conflicts_with_all = FIXED_LENGTH)]
    pub(super) seconds: u64,
    /// Measure each line of the tables this many times, those that are compared in turn, and print the
    /// medians and the ratios of each round [default: 1, with --donations 5]
    #[arg(
        long,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000),
        conflicts_with_all = FIXED_LENGTH
    )]
    rounds: Option<usize>,
    /// Then pay one static invoice this many times and compare the first payments with the last; 0 skips it
    #[arg(long, default_value_t = 10_000, conflicts_with = "mode")]
    pub(super) static_payments: usize,
    /// Also write all figures to this file
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    #[command(flatten)]
    modes: Modes,
}

impl Options {
    /// Checks before anything is started that all required programs exist and that the results can be
    /// written.
    ///
    /// # Errors
    /// If a program to be measured does not exist, or the file of `--json` cannot be created.
    pub fn check(&self) -> Result<()> {
        self.modes.check()?;
        if let Some(file) = &self.json {
            File::create(file).with_context(|| format!("cannot create {}", file.display()))?;
        }
        Ok(())
    }

    /// What these options measure.
    pub(super) fn mode(&self) -> Mode {
        self.modes.chosen()
    }

    /// Number of measurements of each line.
    pub(super) fn rounds(&self) -> usize {
        let default = match self.mode() {
            Mode::Donations => DONATION_ROUNDS,
            _ => 1,
        };
        self.rounds.unwrap_or(default)
    }

    fn kinds(&self) -> Vec<Kind> {
        let mut kinds = match self.kinds.as_slice() {
            [] if self.mode() == Mode::Forward => FORWARDED_KINDS.to_vec(),
            [] => kinds::ALL.to_vec(),
            wanted => wanted.to_vec(),
        };
        kinds.sort_unstable();
        kinds
    }

    fn concurrency(&self) -> &[usize] {
        match self.concurrency.as_slice() {
            [] if self.mode() == Mode::Forward => &FORWARDED_CONCURRENCY,
            [] => &CONCURRENCY,
            wanted => wanted,
        }
    }

    /// The lines of the table in the order in which they are measured: those of the same concurrency, which
    /// are compared, one after the other.
    pub(super) fn cells(&self) -> Vec<(Kind, usize)> {
        let mut cells = Vec::new();
        for wanted in self.concurrency() {
            for kind in self.kinds() {
                let cell = (kind, (*wanted).clamp(1, kind.max_concurrency()));
                if !cells.contains(&cell) {
                    cells.push(cell);
                }
            }
        }
        cells
    }

    /// The lines that are measured between these programs.
    pub(super) fn cells_of(&self, pair: Pair) -> Vec<(Kind, usize)> {
        let mut cells = self.cells();
        if pair != pair::AMPD {
            cells.retain(|(_, at_a_time)| *at_a_time <= MAX_CONCURRENCY_WITH_LND);
        }
        if pair::MIXED.contains(&pair) {
            cells.retain(|(kind, _)| MIXED_KINDS.contains(kind));
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn parse(arguments: &str) -> Result<Options> {
        let words = ["bench"].into_iter().chain(arguments.split_whitespace());
        let matches = Options::augment_args(Command::new("bench")).try_get_matches_from(words)?;
        Ok(Options::from_arg_matches(&matches)?)
    }

    #[test]
    fn compared_lines_are_measured_one_after_the_other() {
        let options = parse("--kinds amp-shards,bolt11 --concurrency 1,64,483").unwrap();
        let expected = [
            (Kind::Bolt11, 1),
            (Kind::AmpShards, 1),
            (Kind::Bolt11, 64),
            (Kind::AmpShards, 64),
            (Kind::Bolt11, 483),
            (Kind::AmpShards, 80),
        ];
        assert_eq!(options.cells(), expected);
    }

    #[test]
    fn lnd_is_measured_with_64_payments_at_most() {
        let options = parse("--against lnd --kinds keysend,amp-key").unwrap();
        assert_eq!(options.mode(), Mode::Lnd);
        let most = |pair| options.cells_of(pair).into_iter().map(|cell| cell.1).max();
        assert_eq!((most(pair::AMPD), most(pair::LND)), (Some(483), Some(64)));
        let mixed = options.cells_of(pair::MIXED[0]).into_iter();
        assert!(mixed.map(|cell| cell.0).all(|kind| kind == Kind::AmpKey));
    }

    #[test]
    fn only_one_mode_is_accepted() {
        assert!(parse("--compare ampd --forward").is_err());
        let error = parse("--against lnd --channels 10").unwrap_err();
        assert!(error.to_string().contains("cannot be used with"), "{error}");
        assert!(parse("--donations --kinds bolt11").is_err());
        assert!(parse("--channels 10 --static-payments 5").is_err());
        assert!(parse("--channels 1").is_err());
    }

    #[test]
    fn soak_has_a_length_and_nothing_else() {
        let mode = parse("--soak 10m").unwrap().mode();
        assert_eq!(mode, Mode::Soak(std::time::Duration::from_secs(600)));
        for option in [
            "--seconds 3",
            "--rounds 2",
            "--payments 9",
            "--concurrency 1",
        ] {
            assert!(parse(&format!("--soak 10m {option}")).is_err(), "{option}");
        }
    }

    #[test]
    fn cold_start_may_be_smaller() {
        let mode = |arguments| parse(arguments).unwrap().mode();
        let default = Mode::ColdStart("100,10000,1000".parse().unwrap());
        assert_eq!(mode("--cold-start"), default);
        let small = Mode::ColdStart("2,10,3".parse().unwrap());
        assert_eq!(mode("--cold-start=2,10,3"), small);
    }

    #[test]
    fn forwarded_payments_are_fewer_unless_chosen() {
        let cells = |arguments| parse(arguments).unwrap().cells();
        assert_eq!(cells("--forward").len(), 6);
        let chosen = cells("--forward --kinds keysend --concurrency 483");
        assert_eq!(chosen, [(Kind::Keysend, 483)]);
    }

    #[test]
    fn rounds_have_a_default_for_each_mode() {
        let rounds = |arguments| parse(arguments).unwrap().rounds();
        assert_eq!((rounds(""), rounds("--donations")), (1, 5));
        assert_eq!(rounds("--donations --rounds 3"), 3);
        assert!(parse("--rounds 0").is_err());
    }
}
