//! Compares ampd with lnd: the same work between two nodes of each, and between one of each, in
//! one run on one machine.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::kinds::Kind;
use super::load::Measured;
use super::options::Options;
use super::pair::{self, Pair};
use super::ratio::AT_A_TIME;
use super::table::print_target;
use crate::binaries::Binaries;

/// Target against lnd: ratios of the rate of AMP to a key, 64 in flight, and of its p50, sequentially.
const MIN_OF_LND: f64 = 5.0;

/// Measures all pairs and prints how much faster ampd is.
pub(super) async fn run(binaries: &Binaries, options: &Options) -> Result<()> {
    let ampd = measure(binaries, pair::AMPD, options).await?;
    let lnd = measure(binaries, pair::LND, options).await?;
    for pair in pair::MIXED {
        measure(binaries, pair, options).await?;
    }
    print_ratios(&ratios(&figures(&ampd), &figures(&lnd)));
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
pub(super) struct Figures {
    kind: Kind,
    at_a_time: usize,
    /// Payments per second.
    rate: f64,
    p50: Duration,
}

/// How many times better ampd performs; below 1 it performs worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    pub(super) kind: Kind,
    pub(super) at_a_time: usize,
    /// Payments per second of ampd divided by those of the other.
    pub(super) rate: f64,
    /// Median latency of the other divided by that of ampd.
    pub(super) p50: f64,
}

pub(super) fn figures(lines: &[Measured]) -> Vec<Figures> {
    let lines = lines.iter().map(|line| Figures {
        kind: line.kind,
        at_a_time: line.at_a_time,
        rate: line.rate(),
        p50: line.percentile(50),
    });
    lines.collect()
}

/// The ratios of all lines present in both.
pub(super) fn ratios(ours: &[Figures], theirs: &[Figures]) -> Vec<Ratio> {
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

/// Prints ampd / lnd line by line, and compares the ratios with the targets, as far as measured.
fn print_ratios(ratios: &[Ratio]) {
    println!("\nTwo ampd nodes compared with two lnd nodes (above 1: ampd is better)");
    println!(
        "{:<24} {:>7}  {:>10}  {:>7}",
        "payments by", "at once", "payments/s", "p50"
    );
    for line in ratios {
        println!(
            "{:<24} {:>7}  {:>10.2}  {:>7.2}",
            line.kind.title(),
            line.at_a_time,
            line.rate,
            line.p50
        );
    }
    println!();
    let amp = ratios.iter().filter(|line| line.kind == Kind::AmpKey);
    for line in amp {
        if line.at_a_time == AT_A_TIME {
            let text = format!("AMP to a key, {AT_A_TIME} at a time, payments/s, ampd / lnd");
            print_target(&text, line.rate, line.rate >= MIN_OF_LND, MIN_OF_LND);
        }
        if line.at_a_time == 1 {
            let text = "AMP to a key, sequential, p50, lnd / ampd";
            print_target(text, line.p50, line.p50 >= MIN_OF_LND, MIN_OF_LND);
        }
    }
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
