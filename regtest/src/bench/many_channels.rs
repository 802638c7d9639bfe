//! Payments of a node with one channel, and of a node with many (`--channels`), in turn.

use anyhow::Result;

use super::figures::{Line, find};
use super::kinds::Kind;
use super::options::Options;
use super::report::Report;
use super::statistics::Spread;
use super::targets::{self, AT_A_TIME, Verdict};
use super::{Bench, pair, ratios, rounds};
use crate::binaries::Binaries;

/// Measures with one channel and with many, and prints the ratios.
pub(super) async fn run(
    binaries: &Binaries,
    channels: usize,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let mut many = Bench::start(binaries.clone(), pair::AMPD).await?;
    many.open_until(channels).await?;
    many.title = format!("{}, {channels} channels", many.title);
    let mut one = Bench::start(binaries.clone(), pair::AMPD).await?;
    one.title = format!("{}, one channel", one.title);
    let [many_table, one_table] = rounds::measure([&many, &one], options).await?;
    many.network.finish();
    one.network.finish();
    for (name, table) in [("one-channel", &one_table), ("many-channels", &many_table)] {
        table.print();
        report.add(name, table)?;
    }
    let ratios = ratios::ratios(&many_table.lines, &one_table.lines);
    ratios::print(&format!("{channels} channels / one"), &ratios);
    report.add("many/one", &ratios)?;
    report.judge(verdicts(&many_table.lines, &one_table.lines));
    Ok(())
}

fn verdicts(many: &[Line], one: &[Line]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for ratio in ratios::ratios(many, one) {
        match (ratio.kind, ratio.at_a_time) {
            (Kind::AmpKey, AT_A_TIME) => {
                verdicts.push(targets::RATE_OF_MANY.judge(ratio.payments_per_second));
            }
            (Kind::AmpKey, 1) => {
                verdicts.extend(latency(many, one).map(|p50| targets::LATENCY_OF_MANY.judge(p50)));
            }
            _ => {}
        }
    }
    let amp = many.iter().filter(|line| line.kind == Kind::AmpKey);
    verdicts.extend(amp.filter_map(|line| {
        let bytes = line.of_node(0, |used| used.manager_bytes_per_commit)?;
        let what = format!("{} at once", line.at_a_time);
        Some(targets::BYTES_OF_MANY.judge_one(&what, bytes))
    }));
    verdicts
}

/// The p50 of sequential payments, many / one.
fn latency(many: &[Line], one: &[Line]) -> Option<Spread> {
    let [many, one] = [many, one].map(|lines| {
        let line = find(lines, Kind::AmpKey, 1)?;
        Some(line.each(|round| round.p50_ms))
    });
    Spread::of_ratios(&many?, &one?)
}
