//! Measures the cost of receiving with a long history: `cargo bench --bench receiving`.
//!
//! A small and a large database are filled. Each operation then runs on both in turn, many times,
//! so that other load on the machine affects both: first through the registry, then over gRPC on
//! two ampd nodes. The ratio of the medians may be at most 1.2, and neither this process nor ampd
//! may use 250 MB at its peak. The benchmark fails if a limit is exceeded.
//!
//! The databases are in the operating system's cache, as they eventually are on a node with enough
//! memory: this measures ampd, not the time of a disk to find a page.

mod common;
mod invoices;

use std::path::Path;
use std::time::Instant;

use ampd::storage::Store;
use anyhow::{Result, ensure};

use common::fill::History;
use common::{Samples, memory_mb, warm};
use invoices::fixture::Fixture;
use invoices::node::Nodes;

const SMALL: History = History {
    invoices: 100,
    htlcs: 1_000,
};
const LARGE: History = History {
    invoices: 100_000,
    htlcs: 1_000_000,
};

/// The add index of the n-th BOLT 11 invoice to look up, spread over the whole history.
const fn ordinary(history: History, n: u64) -> u64 {
    2 * (1 + n * 7_919 % (history.invoices / 2))
}

/// Pairs of samples per operation.
const SAMPLES: usize = 1_000;
/// Pairs that are not counted: the first calls prepare statements and read pages.
const WARM_UP: usize = 50;

const MAX_RATIO: f64 = 1.2;
const MAX_MEMORY_MB: u64 = 250;

#[tokio::main]
async fn main() -> Result<()> {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut small = build(&scratch.path().join("small"), SMALL).await?;
    let mut large = build(&scratch.path().join("large"), LARGE).await?;

    println!(
        "\n{:<52} {:>11} {:>11} {:>8}",
        format!("p50 of {SAMPLES}"),
        "small",
        "large",
        "ratio"
    );
    let mut ratios = vec![
        add_invoice(&mut small, &mut large).await?,
        accept_and_settle(&mut small, &mut large).await?,
    ];
    // Part of LookupInvoiceV2, shown to tell where its time goes.
    lookup(&mut small, &mut large)?;
    small.close()?;
    large.close()?;
    let peak = memory_mb("self", "VmHWM")?;
    println!("peak memory of this process, including the fill: {peak} MB\n");

    let nodes = Nodes::start(scratch.path()).await?;
    ratios.extend(nodes.ratios().await?);
    let peak = peak.max(nodes.memory().await?);

    let worst = ratios.into_iter().fold(0.0, f64::max);
    println!(
        "\nworst ratio {worst:.2} (limit {MAX_RATIO}), peak {peak} MB (limit {MAX_MEMORY_MB})"
    );
    ensure!(
        worst <= MAX_RATIO,
        "the worst ratio is {worst:.2}, above the limit"
    );
    ensure!(
        peak < MAX_MEMORY_MB,
        "peak memory of {peak} MB is above the limit"
    );
    Ok(())
}

async fn build(dir: &Path, history: History) -> Result<Fixture> {
    let start = Instant::now();
    let fixture = Fixture::build(dir, history).await?;
    let bytes = warm(&Store::path_in(dir))?;
    println!(
        "{} invoices, {} settled HTLCs, {} of them on one static invoice: {} MB, filled in {} s",
        history.invoices,
        history.htlcs,
        history.static_payments(),
        bytes >> 20,
        start.elapsed().as_secs(),
    );
    Ok(fixture)
}

async fn add_invoice(small: &mut Fixture, large: &mut Fixture) -> Result<f64> {
    let mut samples = Samples::after(WARM_UP);
    for n in 0..WARM_UP + SAMPLES {
        samples.add(n, small.add_invoice().await?, large.add_invoice().await?);
    }
    Ok(samples.report("AddInvoice"))
}

fn lookup(small: &mut Fixture, large: &mut Fixture) -> Result<f64> {
    let mut samples = Samples::after(WARM_UP);
    for n in 0..WARM_UP + SAMPLES {
        samples.add(n, small.lookup()?, large.lookup()?);
    }
    Ok(samples.report("  (a lookup alone)"))
}

async fn accept_and_settle(small: &mut Fixture, large: &mut Fixture) -> Result<f64> {
    let mut samples = Samples::after(WARM_UP);
    for n in 0..WARM_UP + SAMPLES {
        let first = small.accept_and_settle().await?;
        samples.add(n, first, large.accept_and_settle().await?);
    }
    Ok(samples.report("accept and settle"))
}
