//! Payments that a third node forwards (`--forward`).

use anyhow::Result;

use super::options::Options;
use super::report::Report;
use super::{Bench, rounds};
use crate::binaries::Binaries;

/// Measures three ampd of which the one in the middle forwards.
pub(super) async fn run(binaries: Binaries, options: &Options, report: &mut Report) -> Result<()> {
    let bench = Bench::start_forwarding(binaries).await?;
    let [table] = rounds::measure([&bench], options).await?;
    bench.network.finish();
    table.print();
    println!("\nCommits and CPU time: payer + forwarding node + payee");
    report.add("forward", &table)
}
