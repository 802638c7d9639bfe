//! Compares ampd with lnd: the same work between two nodes of each, and between one of each, in
//! one run on one machine.

use std::time::Duration;

use anyhow::Result;

use super::kinds::Kind;
use super::load::Measured;
use super::options::Options;
use super::pair::{self, Pair};
use super::{Bench, table};
use crate::binaries::Binaries;

/// Measures all pairs and prints how much faster ampd is.
pub async fn run(binaries: &Binaries, options: &Options) -> Result<()> {
    let ampd = measure(binaries, pair::AMPD, options).await?;
    let lnd = measure(binaries, pair::LND, options).await?;
    for pair in pair::MIXED {
        measure(binaries, pair, options).await?;
    }
    table::print_ratios(&ratios(&figures(&ampd), &figures(&lnd)));
    Ok(())
}

async fn measure(binaries: &Binaries, pair: Pair, options: &Options) -> Result<Vec<Measured>> {
    let options = options.of(pair);
    if options.is_empty() {
        return Ok(Vec::new());
    }
    let bench = Bench::start(binaries.clone(), pair).await?;
    let lines = bench.measure_all(&options).await?;
    bench.network.finish();
    Ok(lines)
}

/// The compared figures of one line of a table.
#[derive(Clone, Copy, Debug)]
struct Figures {
    kind: Kind,
    at_a_time: usize,
    /// Payments per second.
    rate: f64,
    p50: Duration,
}

/// How many times better ampd performs; below 1 it performs worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub kind: Kind,
    pub at_a_time: usize,
    /// Payments per second of ampd divided by those of the other.
    pub rate: f64,
    /// Median latency of the other divided by that of ampd.
    pub p50: f64,
}

fn figures(lines: &[Measured]) -> Vec<Figures> {
    let lines = lines.iter().map(|line| Figures {
        kind: line.kind,
        at_a_time: line.at_a_time,
        rate: line.rate(),
        p50: line.percentile(50),
    });
    lines.collect()
}

/// The ratios of all lines present in both.
fn ratios(ours: &[Figures], theirs: &[Figures]) -> Vec<Ratio> {
    let ratio = |ours: &Figures| {
        let same =
            |theirs: &&Figures| (theirs.kind, theirs.at_a_time) == (ours.kind, ours.at_a_time);
        let theirs = theirs.iter().find(same)?;
        Some(Ratio {
            kind: ours.kind,
            at_a_time: ours.at_a_time,
            rate: ours.rate / theirs.rate,
            p50: theirs.p50.as_secs_f64() / ours.p50.as_secs_f64(),
        })
    };
    ours.iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: Kind, at_a_time: usize, rate: f64, p50_ms: u64) -> Figures {
        Figures {
            kind,
            at_a_time,
            rate,
            p50: Duration::from_millis(p50_ms),
        }
    }

    #[test]
    fn ratios_above_one_mean_ampd_is_better() {
        let ours = [line(Kind::AmpKey, 64, 300.0, 20)];
        let theirs = [line(Kind::AmpKey, 64, 60.0, 160)];
        let expected = Ratio {
            kind: Kind::AmpKey,
            at_a_time: 64,
            rate: 5.0,
            p50: 8.0,
        };
        assert_eq!(ratios(&ours, &theirs), [expected]);
    }

    #[test]
    fn compares_only_lines_of_the_same_kind_and_concurrency() {
        let ours = [
            line(Kind::AmpKey, 1, 100.0, 10),
            line(Kind::AmpKey, 483, 100.0, 10),
            line(Kind::Bolt11, 64, 100.0, 10),
        ];
        let theirs = [
            line(Kind::Bolt11, 64, 50.0, 10),
            line(Kind::Bolt11, 1, 1.0, 10),
            line(Kind::AmpKey, 1, 10.0, 10),
        ];
        let found = ratios(&ours, &theirs);
        let found: Vec<_> = found.iter().map(|line| (line.kind, line.rate)).collect();
        assert_eq!(found, [(Kind::AmpKey, 10.0), (Kind::Bolt11, 2.0)]);
    }
}
