//! The benchmark: throughput and latency of each kind of payment over one channel.
//!
//! Runs two nodes with their default settings (in ampd every commit is synchronous) and bitcoind
//! on this machine: two ampd nodes and, for comparison, two lnd nodes and one of each. The client
//! pays over gRPC and measures what a client sees: a payment lasts from the call to the message
//! that reports its success.
//!
//! Each mode has a module with `run`, which prints tables, adds their figures to the `Report` and
//! compares them with the `targets`. Progress is shown on stderr.

mod cold_start;
mod compare;
mod disk;
mod donations;
mod figures;
mod forward;
mod kinds;
mod load;
mod machine;
mod many_channels;
pub mod meters;
mod modes;
mod more_channels;
mod options;
mod pace;
mod pair;
mod paired;
mod payments;
mod progress;
mod ratios;
mod report;
mod rounds;
mod setup;
mod soak;
mod static_invoice;
mod statistics;
mod table;
mod targets;
mod time;
mod vitals;

use std::time::Duration;

use anyhow::Result;

use self::meters::Meter;
use self::modes::Mode;
use self::pair::Pair;
use self::report::Report;
use crate::api::Api;
use crate::binaries::Binaries;
use crate::network::Network;

pub use self::options::Options;

/// HTLCs of completed payments are removed from the channel within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// Nodes on a route, and what is measured of them.
struct Bench {
    /// Who pays whom.
    title: String,
    /// What the nodes on the route run, the payer first.
    versions: Vec<String>,
    pair: Pair,
    /// Median time of a durable write on the disk of the nodes.
    sync_p50: Duration,
    network: Network,
    payer: Api,
    payee: Api,
    payee_key: String,
    /// Of the nodes on the route, the payer first.
    meters: Vec<Meter>,
}

/// Runs the benchmark and prints its results.
///
/// # Errors
/// If a payment fails for any reason but a full channel, or does not arrive in its kind's number
/// of shards. A missed target is not an error.
pub async fn run(binaries: Binaries, options: Options) -> Result<()> {
    let mode = options.mode();
    let mut report = Report::new(mode.name())?;
    report.print_machine();
    match mode {
        Mode::Payments => payments::run(binaries, &options, &mut report).await?,
        Mode::Lnd => compare::run(&binaries, &options, &mut report).await?,
        Mode::Channels(count) => {
            many_channels::run(&binaries, count, &options, &mut report).await?;
        }
        Mode::Soak(length) => soak::run(binaries, length, &mut report).await?,
        Mode::ColdStart(scale) => cold_start::run(binaries, scale, &mut report).await?,
        Mode::Forward => forward::run(binaries, &options, &mut report).await?,
        Mode::Compare(other) => paired::run(binaries, &other, &options, &mut report).await?,
        Mode::Donations => donations::run(binaries, &options, &mut report).await?,
    }
    report.print_targets();
    if let Some(file) = &options.json {
        report.write(file)?;
    }
    Ok(())
}
