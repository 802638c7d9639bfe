//! The output of the benchmark.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::kinds::Kind;
use super::load::Measured;
use super::meters::Reading;
use super::ratio::AT_A_TIME;

/// Target on a machine with two cores: payments/s of AMP to a key, 64 in flight.
const MIN_RATE: f64 = 360.0;
/// Target: p50 in ms of AMP to a key, sequentially.
const MAX_LATENCY_MS: f64 = 15.0;
/// Target: rate of AMP to a key divided by that of BOLT 11, with equal concurrency.
const MIN_OF_BOLT11: f64 = 0.9;

/// Converts to milliseconds.
pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Prints the machine properties that the results depend on.
pub(super) fn print_machine() -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split_whitespace().take(3).collect();
    println!(
        "{cores} cores for two nodes, bitcoind and this client; load average before: {}",
        load.join(" ")
    );
    if cfg!(debug_assertions) {
        println!("WARNING: this is a debug build; run with --release for meaningful results");
    }
    Ok(())
}

/// Prints payer and payee of the following table and the time of a durable write.
pub(super) fn print_nodes(title: &str, sync_p50: Duration) {
    println!("\n{title}");
    println!(
        "4 KiB write and fdatasync on this disk: p50 {:.2} ms\n",
        ms(sync_p50)
    );
}

/// Prints the table header. Commits and CPU time are per payment: payer + payee.
pub(super) fn print_head() {
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

/// Prints one line of the table.
pub(super) fn print_line(line: &Measured) {
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

/// Commits per payment of each node; lnd does not report them.
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

/// Prints a line instead of the results of a kind.
pub(super) fn print_skipped(kind: Kind, why: &str) {
    println!(
        "{:<24} skipped: not supported by this node: {why}",
        kind.title()
    );
}

/// Compares the results with the targets, as far as they were measured.
pub(super) fn print_targets(lines: &[Measured]) {
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
        let text = "AMP to a key, sequential, p50 ms";
        print_target(text, p50, p50 < MAX_LATENCY_MS, MAX_LATENCY_MS);
    }
}

/// Prints the rate of AMP to a key divided by that of BOLT 11.
pub(super) fn print_ratio(ratio: f64) {
    let text = format!("AMP to a key / BOLT 11, {AT_A_TIME} at a time");
    print_target(&text, ratio, ratio >= MIN_OF_BOLT11, MIN_OF_BOLT11);
}

/// Prints a value next to its target.
pub(super) fn print_target(what: &str, value: f64, is_met: bool, target: f64) {
    let verdict = if is_met { "met" } else { "MISSED" };
    println!("{what:<52} {value:>7.2}  target {target}: {verdict}");
}

/// Prints the first and the last payments to one invoice, sequential and concurrent.
pub(super) fn print_static(first: &[Measured; 2], middle: &Measured, last: &[Measured; 2]) {
    let compared = first.iter().chain(last).chain([middle]);
    let all: usize = compared.map(Measured::payments).sum();
    println!("\nOne static invoice, paid {all} times");
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
        "payments/s of those in between",
        middle.rate()
    );
}
