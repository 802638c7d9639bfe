//! The benchmark: how fast payments of each kind go from one node to another over one channel.
//!
//! Two nodes with their default settings (of ampd every commit is synchronous) and bitcoind on this
//! machine: two ampd, and to compare with them two lnd, and one of each.
//! The client pays over gRPC, as any client does, and counts what a client sees: a payment takes from
//! the call to the message that it succeeded.

mod against;
mod disk;
mod donations;
mod kinds;
mod load;
pub mod meters;
mod options;
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

/// HTLCs that a channel carries in one direction.
const MAX_HTLCS: usize = 483;
/// Of an incomplete set all shards but the last are held, and ampd holds at most 241 HTLCs of such
/// sets on a channel by default.
const MAX_SETS: usize = 241 / (kinds::SHARDS - 1);
/// HTLCs of finished payments leave the channel within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// LDK keeps ended payments in the channel manager, which each commit writes whole, for as long at
/// least: without a rest the first line of a kind would pay for the last one of the kind before.
const REST: Duration = Duration::from_secs(20);

/// Two nodes, one channel, and what is read of them.
struct Bench {
    pair: Pair,
    network: Network,
    payer: Api,
    payee: Api,
    payee_key: String,
    meters: Meters,
}

/// Measures and prints.
///
/// # Errors
/// If a payment fails for another reason than a full channel, or arrives in another number of shards
/// than its kind has.
pub async fn run(binaries: Binaries, options: Options) -> Result<()> {
    table::print_machine()?;
    if options.donations {
        return donations::run(binaries, options.seconds).await;
    }
    match options.against {
        Some(Rival::Lnd) => against::run(&binaries, &options).await,
        None => alone(binaries, &options).await,
    }
}

/// ampd only: how far it is from what we aim at.
async fn alone(binaries: Binaries, options: &Options) -> Result<()> {
    let bench = Bench::start(binaries, pair::AMPD).await?;
    let lines = bench.measure_all(options).await?;
    table::print_targets(&lines);
    if options.has_both() {
        table::print_ratio(ratio::amp_by_bolt11(&bench, options).await?);
    }
    if options.static_payments > 0 {
        tokio::time::sleep(REST).await;
        static_invoice::run(&bench, options.static_payments).await?;
    }
    bench.network.finish();
    Ok(())
}

impl Bench {
    /// All kinds, one table.
    async fn measure_all(&self, options: &Options) -> Result<Vec<Measured>> {
        self.print_nodes().await?;
        table::print_head();
        let mut lines = Vec::new();
        for (number, kind) in options.kinds.iter().enumerate() {
            if number > 0 {
                tokio::time::sleep(REST).await;
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
            let at_a_time = (*wanted).clamp(1, most_at_a_time(kind));
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
        // One after the other the first few hundred tell as much as thousands.
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

fn most_at_a_time(kind: Kind) -> usize {
    match kind {
        Kind::AmpShards => MAX_SETS,
        _ => MAX_HTLCS,
    }
}
