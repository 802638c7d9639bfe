//! What the benchmark prints.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::against::Ratio;
use super::donations::{Pace, RATE, STREAMS};
use super::kinds::Kind;
use super::load::Measured;
use super::meters::Reading;
use super::ratio::AT_A_TIME;

/// What we aim at on a machine with two cores: payments/s of AMP to a key with 64 at a time.
const MIN_RATE: f64 = 360.0;
/// Its p50 in ms, one after the other.
const MAX_LATENCY_MS: f64 = 15.0;
/// Its rate by that of BOLT 11, with as many at a time.
const MIN_OF_BOLT11: f64 = 0.9;
/// Against lnd: the rate of AMP to a key with 64 at a time, and its p50 one after the other.
const MIN_OF_LND: f64 = 5.0;

/// Payments to a donation page with [`STREAMS`] open pages, by those without.
const MOST_SLOWER: f64 = 1.1;

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// What the figures depend on beside the nodes.
pub fn print_machine() -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split_whitespace().take(3).collect();
    println!(
        "{cores} cores for two nodes, bitcoind and this client; load average before: {}",
        load.join(" ")
    );
    if cfg!(debug_assertions) {
        println!("A DEBUG BUILD: run it with --release for figures that mean anything");
    }
    Ok(())
}

/// Who pays whom in the table that follows, and how long the disk takes for a durable write.
pub fn print_nodes(title: &str, sync_p50: Duration) {
    println!("\n{title}");
    println!(
        "4 KiB write and fdatasync on this disk: p50 {:.2} ms\n",
        ms(sync_p50)
    );
}

/// The table's head. Commits and processor time are for each payment: payer + payee.
pub fn print_head() {
    println!(
        "{:<24} {:>4} {:>8} {:>8} {:>8} {:>8} {:>8}  {:>11}  {:>11} {:>6}",
        "", "at", "", "", "", "", "", "commits for", "CPU ms for", ""
    );
    println!(
        "{:<24} {:>4} {:>8} {:>8} {:>8} {:>8} {:>8}  {:>11}  {:>11} {:>6}",
        "payments by",
        "once",
        "payments",
        "paym./s",
        "shards/s",
        "p50 ms",
        "p99 ms",
        "each paym.",
        "each paym.",
        "again"
    );
}

/// One line of it.
pub fn print_line(line: &Measured) {
    let payments = line.payments() as f64;
    let cpu = line.used.map(|used| ms(used.cpu) / payments);
    println!(
        "{:<24} {:>4} {:>8} {:>8.1} {:>8.1} {:>8.1} {:>8.1}  {:>11}  {:>11} {:>6}",
        line.kind.title(),
        line.at_a_time,
        line.payments(),
        line.rate(),
        line.shards() as f64 / line.elapsed.as_secs_f64(),
        ms(line.percentile(50)),
        ms(line.percentile(99)),
        commits(&line.used, payments),
        format!("{:.2}+{:.2}", cpu[0], cpu[1]),
        line.retries(),
    );
}

/// Of each node for one payment; lnd does not tell.
fn commits(used: &[Reading; 2], payments: f64) -> String {
    if used.iter().all(|used| used.commits.is_none()) {
        return "-".to_owned();
    }
    let [payer, payee] = used.map(|used| match used.commits {
        Some(commits) => format!("{:.2}", commits as f64 / payments),
        None => "-".to_owned(),
    });
    format!("{payer}+{payee}")
}

/// Instead of the lines of a kind.
pub fn print_skipped(kind: Kind, why: &str) {
    println!(
        "{:<24} skipped: not supported by this node: {why}",
        kind.title()
    );
}

/// Compares with what we aim at, as far as it was measured.
pub fn print_targets(lines: &[Measured]) {
    let find = |kind, at_a_time| {
        let mut lines = lines.iter();
        lines.find(|line| line.kind == kind && line.at_a_time == at_a_time)
    };
    println!();
    if let Some(amp) = find(Kind::AmpKey, AT_A_TIME) {
        let text = format!("AMP to a key, {AT_A_TIME} at a time, payments/s");
        print_target(&text, amp.rate(), amp.rate() >= MIN_RATE, MIN_RATE);
    }
    if let Some(amp) = find(Kind::AmpKey, 1) {
        let p50 = ms(amp.percentile(50));
        let text = "AMP to a key, one after the other, p50 ms";
        print_target(text, p50, p50 < MAX_LATENCY_MS, MAX_LATENCY_MS);
    }
}

/// AMP to a key by BOLT 11, measured in turn.
pub fn print_ratio(ratio: f64) {
    let text = format!("AMP to a key by BOLT 11, in turn, {AT_A_TIME} at a time");
    print_target(&text, ratio, ratio >= MIN_OF_BOLT11, MIN_OF_BOLT11);
}

/// ampd by lnd, line by line, and compares with what we aim at, as far as it was measured.
pub fn print_ratios(ratios: &[Ratio]) {
    println!("\nhow many times better two ampd do than two lnd");
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
            let text = format!("AMP to a key, {AT_A_TIME} at a time, payments/s by lnd's");
            print_target(&text, line.rate, line.rate >= MIN_OF_LND, MIN_OF_LND);
        }
        if line.at_a_time == 1 {
            let text = "AMP to a key, one after the other, lnd's p50 by ours";
            print_target(text, line.p50, line.p50 >= MIN_OF_LND, MIN_OF_LND);
        }
    }
}

fn print_target(what: &str, value: f64, is_met: bool, target: f64) {
    let verdict = if is_met { "met" } else { "MISSED" };
    println!("{what:<52} {value:>7.2}  target {target}: {verdict}");
}

/// The first and the last payments to one invoice: one after the other, and many at a time.
pub fn print_static(first: &[Measured; 2], middle: &Measured, last: &[Measured; 2]) {
    let compared = first.iter().chain(last).chain([middle]);
    let all: usize = compared.map(Measured::payments).sum();
    println!("\none static invoice, paid {all} times");
    println!("{:<34} {:>8} {:>8} {:>6}", "", "first", "last", "ratio");
    let (before, after) = (ms(first[0].percentile(50)), ms(last[0].percentile(50)));
    let text = format!("p50 ms of {}, one at a time", first[0].payments());
    println!(
        "{text:<34} {before:>8.1} {after:>8.1} {:>6.2}",
        after / before
    );
    let (before, after) = (first[1].rate(), last[1].rate());
    let text = format!(
        "payments/s of {}, {} at a time",
        first[1].payments(),
        first[1].at_a_time
    );
    println!(
        "{text:<34} {before:>8.1} {after:>8.1} {:>6.2}",
        after / before
    );
    println!(
        "{:<34} {:>8.1}",
        "payments/s of those between",
        middle.rate()
    );
}

/// The head of the donation page's table.
pub fn print_pace_head() {
    println!("Payments to the donation page's invoice, {RATE} due in each second:\n");
    println!(
        "{:>10} {:>9} {:>9} {:>9}",
        "open pages", "paym./s", "p50 ms", "p99 ms"
    );
}

/// One line of it.
pub fn print_pace(streams: usize, pace: &Pace) {
    println!(
        "{streams:>10} {:>9.1} {:>9.1} {:>9.1}",
        pace.rate,
        ms(pace.p50),
        ms(pace.p99)
    );
}

/// By how much open pages slow payments, from the medians of all lines.
pub fn print_pace_ratio(without: &Pace, with: &Pace) {
    let slower = [
        ("payments per second", without.rate / with.rate),
        ("p50", with.p50.as_secs_f64() / without.p50.as_secs_f64()),
        ("p99", with.p99.as_secs_f64() / without.p99.as_secs_f64()),
    ];
    println!("\nMedians with {STREAMS} open pages, by those without (aim: at most {MOST_SLOWER}):");
    for (what, ratio) in slower {
        let verdict = if ratio <= MOST_SLOWER {
            "reached"
        } else {
            "MISSED"
        };
        println!("  {what}: {ratio:.3} times slower, {verdict}");
    }
}
