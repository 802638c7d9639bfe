//! Compares ampd with lnd: the same work between two nodes of each, in turn, and between one of each.

use anyhow::Result;

use super::figures::{Line, find};
use super::kinds::Kind;
use super::options::Options;
use super::pair::{self, Pair};
use super::report::Report;
use super::statistics::Spread;
use super::targets::{self, AT_A_TIME, Verdict};
use super::{Bench, payments, ratios, rounds};
use crate::binaries::Binaries;

/// Measures all pairs and prints how much faster ampd is.
pub(super) async fn run(binaries: &Binaries, options: &Options, report: &mut Report) -> Result<()> {
    let ampd = Bench::start(binaries.clone(), pair::AMPD).await?;
    let lnd = Bench::start(binaries.clone(), pair::LND).await?;
    let [ours, theirs] = rounds::measure([&ampd, &lnd], options).await?;
    ampd.network.finish();
    lnd.network.finish();
    for (name, table) in [("ampd", &ours), ("lnd", &theirs)] {
        table.print();
        report.add(name, table)?;
    }
    for (name, pair) in ["ampd-lnd", "lnd-ampd"].into_iter().zip(pair::MIXED) {
        mixed(binaries, options, (name, pair), report).await?;
    }
    let ratios = ratios::ratios(&ours.lines, &theirs.lines);
    ratios::print("Two ampd / two lnd", &ratios);
    report.add("ampd/lnd", &ratios)?;
    report.judge(payments::verdicts(&ours.lines));
    report.judge(verdicts(&ours.lines, &theirs.lines));
    Ok(())
}

/// Measures ampd with lnd, if the options select any of what is measured between them.
async fn mixed(
    binaries: &Binaries,
    options: &Options,
    (name, pair): (&str, Pair),
    report: &mut Report,
) -> Result<()> {
    if options.cells_of(pair).is_empty() {
        return Ok(());
    }
    let bench = Bench::start(binaries.clone(), pair).await?;
    let [table] = rounds::measure([&bench], options).await?;
    bench.network.finish();
    table.print();
    report.add(name, &table)
}

fn verdicts(ampd: &[Line], lnd: &[Line]) -> Vec<Verdict> {
    let amp = |at_a_time| {
        let lines = [ampd, lnd].map(|lines| find(lines, Kind::AmpKey, at_a_time));
        Some((lines[0]?, lines[1]?))
    };
    let rate = amp(AT_A_TIME).and_then(|(ours, theirs)| {
        let [ours, theirs] = [ours, theirs].map(|line| line.each(|one| one.payments_per_second));
        Spread::of_ratios(&ours, &theirs)
    });
    let latency = amp(1).and_then(|(ours, theirs)| {
        let [ours, theirs] = [ours, theirs].map(|line| line.each(|one| one.p50_ms));
        Spread::of_ratios(&theirs, &ours)
    });
    let rate = rate.map(|ratio| targets::RATE_BY_LND.judge(ratio));
    let latency = latency.map(|ratio| targets::LND_LATENCY.judge(ratio));
    rate.into_iter().chain(latency).collect()
}
