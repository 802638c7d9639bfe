//! Compares this build with another ampd (`--compare`): two nodes of each, measured in turn.

use std::path::Path;

use anyhow::Result;

use super::options::Options;
use super::report::Report;
use super::{Bench, pair, payments, ratios, rounds};
use crate::binaries::Binaries;

/// Measures both and prints the ratios.
pub(super) async fn run(
    binaries: Binaries,
    other: &Path,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let others = Binaries {
        ampd: other.to_owned(),
        ampcli: binaries.ampcli.clone(),
    };
    let this = start(binaries, "this build").await?;
    let other = start(others, "the other").await?;
    let [ours, theirs] = rounds::measure([&this, &other], options).await?;
    this.network.finish();
    other.network.finish();
    for (name, table) in [("this", &ours), ("other", &theirs)] {
        table.print();
        report.add(name, table)?;
    }
    let ratios = ratios::ratios(&ours.lines, &theirs.lines);
    ratios::print("This build / the other", &ratios);
    report.add("this/other", &ratios)?;
    report.judge(payments::verdicts(&ours.lines));
    Ok(())
}

async fn start(binaries: Binaries, name: &str) -> Result<Bench> {
    let exe = binaries.ampd.display().to_string();
    let mut bench = Bench::start(binaries, pair::AMPD).await?;
    // Both may report the same version.
    bench.title = format!("{}, {name}: {exe}", bench.title);
    Ok(bench)
}
