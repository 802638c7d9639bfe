//! Measures two ampd nodes (the default mode), and compares the results with the targets.

use anyhow::Result;

use super::figures::{Line, find};
use super::kinds::Kind;
use super::options::Options;
use super::report::Report;
use super::rounds::{self, IDLE_TIME};
use super::statistics::Spread;
use super::targets::{self, AT_A_TIME, Target, Verdict};
use super::{Bench, pair, static_invoice};
use crate::binaries::Binaries;

/// Measures all kinds of payments, then one static invoice that is paid many times.
pub(super) async fn run(binaries: Binaries, options: &Options, report: &mut Report) -> Result<()> {
    let bench = Bench::start(binaries, pair::AMPD).await?;
    let [table] = rounds::measure([&bench], options).await?;
    table.print();
    report.add("ampd", &table)?;
    report.judge(verdicts(&table.lines));
    if options.static_payments > 0 {
        tokio::time::sleep(IDLE_TIME).await;
        static_invoice::run(&bench, options.static_payments, report).await?;
    }
    bench.network.finish();
    Ok(())
}

/// Compares the lines of two ampd with one channel with the targets, as far as they were measured.
pub(super) fn verdicts(lines: &[Line]) -> Vec<Verdict> {
    [sequential(lines), concurrent(lines)].concat()
}

fn sequential(lines: &[Line]) -> Vec<Verdict> {
    let Some(amp) = find(lines, Kind::AmpKey, 1) else {
        return Vec::new();
    };
    let p50 = Spread::of(&amp.each(|round| round.p50_ms));
    let mut verdicts: Vec<_> = p50
        .map(|p50| targets::LATENCY.judge(p50))
        .into_iter()
        .collect();
    verdicts.extend(commits(amp, targets::COMMITS));
    verdicts
}

fn concurrent(lines: &[Line]) -> Vec<Verdict> {
    let Some(amp) = find(lines, Kind::AmpKey, AT_A_TIME) else {
        return Vec::new();
    };
    let rates = |line: &Line| line.each(|round| round.payments_per_second);
    let amp_rates = rates(amp);
    let ratio = |target: Target, ours: &[f64], theirs: &[f64]| {
        Spread::of_ratios(ours, theirs).map(|ratio| target.judge(ratio))
    };
    let mut verdicts: Vec<_> = Spread::of(&amp_rates)
        .map(|rate| targets::RATE.judge(rate))
        .into_iter()
        .collect();
    verdicts.extend(commits(amp, targets::COMMITS_AT_ONCE));
    if let Some(bolt11) = find(lines, Kind::Bolt11, AT_A_TIME) {
        verdicts.extend(ratio(targets::AMP_BY_BOLT11, &amp_rates, &rates(bolt11)));
    }
    if let Some(invoice) = find(lines, Kind::AmpInvoice, AT_A_TIME) {
        verdicts.extend(ratio(targets::STATIC_BY_AMP, &rates(invoice), &amp_rates));
    }
    if let Some(shards) = find(lines, Kind::AmpShards, AT_A_TIME) {
        let shards = shards.each(|round| round.shards_per_second);
        verdicts.extend(ratio(targets::SHARDS_BY_AMP, &shards, &amp_rates));
    }
    verdicts
}

/// The commits of payer and payee.
fn commits(line: &Line, target: Target) -> Vec<Verdict> {
    let sides = [(0, "payer"), (1, "payee")];
    let verdict = |(node, side)| {
        let commits = line.of_node(node, |used| used.commits_per_payment)?;
        Some(target.judge_one(side, commits))
    };
    sides.into_iter().filter_map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::figures;
    use super::*;

    /// The names of the targets, and the medians.
    fn judged(lines: &[Line]) -> Vec<(String, f64)> {
        let verdicts = verdicts(lines).into_iter().map(|verdict| {
            let json = serde_json::to_value(verdict).unwrap();
            let name = json["name"].as_str().unwrap().to_owned();
            (name, json["median"].as_f64().unwrap())
        });
        verdicts.collect()
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let lines = [
            Line::new(
                Kind::Bolt11,
                AT_A_TIME,
                vec![figures(100.0, 9.0), figures(400.0, 9.0)],
            ),
            Line::new(
                Kind::AmpKey,
                AT_A_TIME,
                vec![figures(110.0, 9.0), figures(480.0, 9.0)],
            ),
        ];
        let found = judged(&lines);
        let (_, ratio) = found
            .iter()
            .find(|(name, _)| name.contains("BOLT 11"))
            .unwrap();
        assert!((ratio - 1.15).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn judges_only_what_was_measured() {
        let sequential = [Line::new(Kind::AmpKey, 1, vec![figures(100.0, 9.0)])];
        let names: Vec<_> = judged(&sequential).into_iter().map(|one| one.0).collect();
        assert_eq!(
            names,
            [
                "AMP to a key, one at a time: p50 ms",
                "AMP to a key, one at a time: commits per payment, payer"
            ]
        );
        assert!(judged(&[]).is_empty());
    }
}
