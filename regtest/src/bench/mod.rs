//! The benchmark: throughput and latency of each kind of payment over one channel.
//!
//! Runs two nodes with their default settings (in ampd every commit is synchronous) and bitcoind
//! on this machine: two ampd nodes and, for comparison, two lnd nodes and one of each. The client
//! pays over gRPC and measures what a client sees: a payment lasts from the call to the message
//! that reports its success.

mod compare;
mod disk;
mod donations;
mod kinds;
mod load;
mod many_channels;
pub mod meters;
mod options;
mod pace;
mod pair;
mod ratio;
mod setup;
mod static_invoice;
mod table;

use std::time::Duration;

use anyhow::{Result, ensure};

use self::kinds::Kind;
use self::load::{Cell, Limit, Measured};
use self::meters::Meters;
use self::options::Rival;
use self::pair::Pair;
use crate::api::Api;
use crate::binaries::Binaries;
use crate::network::Network;

pub use self::options::Options;

/// Maximum number of HTLCs that a channel carries in one direction (BOLT 2).
const MAX_HTLCS: usize = 483;
/// An incomplete set holds all shards but the last; by default ampd holds at most 241 HTLCs of
/// incomplete sets per channel.
const MAX_SETS: usize = 241 / (kinds::SHARDS - 1);
/// HTLCs of completed payments are removed from the channel within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// LDK keeps completed payments in the channel manager for at least this long, and each commit
/// writes the manager whole: without the pause, one kind would slow down the next.
const IDLE_TIME: Duration = Duration::from_secs(20);

/// Two nodes, one channel, and their meters.
struct Bench {
    pair: Pair,
    network: Network,
    payer: Api,
    payee: Api,
    payee_key: String,
    meters: Meters,
}

/// Runs the benchmark and prints its results.
///
/// # Errors
/// If a payment fails for any reason but a full channel, or does not arrive in its kind's number
/// of shards.
pub async fn run(binaries: Binaries, options: Options) -> Result<()> {
    table::print_machine()?;
    if options.donations {
        return donations::run(binaries, options.seconds).await;
    }
    if options.channels > 1 {
        return many_channels::run(binaries, &options).await;
    }
    match options.against {
        Some(Rival::Lnd) => compare::run(&binaries, &options).await,
        None => alone(binaries, &options).await,
    }
}

/// Measures ampd only, and compares it with the targets.
async fn alone(binaries: Binaries, options: &Options) -> Result<()> {
    let bench = Bench::start(binaries, pair::AMPD).await?;
    let lines = bench.measure_all(options).await?;
    table::print_targets(&lines);
    if ratio::is_measured(options) {
        table::print_ratio(ratio::amp_by_bolt11(&bench, options).await?);
    }
    if options.static_payments > 0 {
        tokio::time::sleep(IDLE_TIME).await;
        static_invoice::run(&bench, options.static_payments).await?;
    }
    bench.network.finish();
    Ok(())
}

impl Bench {
    /// Measures all kinds and prints one table.
    async fn measure_all(&self, options: &Options) -> Result<Vec<Measured>> {
        self.print_nodes().await?;
        table::print_head();
        let mut lines = Vec::new();
        for (number, kind) in options.kinds.iter().enumerate() {
            if number > 0 {
                tokio::time::sleep(IDLE_TIME).await;
            }
            lines.extend(self.measure_kind(*kind, options).await?);
        }
        Ok(lines)
    }

    async fn print_nodes(&self) -> Result<()> {
        let versions = [
            self.payer.info().await?.version,
            self.payee.info().await?.version,
        ];
        let sync_p50 = disk::sync_p50(self.network["payer"].dir())?;
        table::print_nodes(&self.pair.title(&versions), sync_p50);
        Ok(())
    }

    async fn measure_kind(&self, kind: Kind, options: &Options) -> Result<Vec<Measured>> {
        let mut lines = Vec::new();
        if let Some(why) = kinds::not_supported(self, kind).await? {
            table::print_skipped(kind, &why);
            return Ok(lines);
        }
        for wanted in &options.concurrency {
            let at_a_time = (*wanted).clamp(1, max_concurrency(kind));
            let mut best: Option<Measured> = None;
            for _ in 0..options.repeat.max(1) {
                let measured = self.measure(kind, at_a_time, options).await?;
                if best
                    .as_ref()
                    .is_none_or(|best| measured.rate() > best.rate())
                {
                    best = Some(measured);
                }
            }
            if let Some(best) = best {
                table::print_line(&best);
                lines.push(best);
            }
        }
        Ok(lines)
    }

    async fn measure(&self, kind: Kind, at_a_time: usize, options: &Options) -> Result<Measured> {
        // Sequentially, a few hundred payments are as accurate as thousands.
        let most = options.payments.min(500 + 100 * at_a_time);
        let cell = Cell {
            kind,
            at_a_time,
            requests: kinds::requests(self, kind, most).await?,
            limit: Limit {
                payments: most,
                time: Duration::from_secs(options.seconds),
            },
        };
        let measured = load::measure(self, cell).await?;
        let shards = measured.shards();
        let expected = kind.shards() * measured.payments();
        ensure!(
            shards == expected,
            "{kind:?}: {shards} shards instead of {expected}"
        );
        self.network.wait_settled(SETTLE_LIMIT).await?;
        Ok(measured)
    }
}

fn max_concurrency(kind: Kind) -> usize {
    match kind {
        Kind::AmpShards => MAX_SETS,
        _ => MAX_HTLCS,
    }
}
