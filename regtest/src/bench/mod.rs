//! The benchmark: how fast payments of each kind go from one node to another over one channel.
//!
//! Two ampd with their default settings (every commit is synchronous) and bitcoind on this machine.
//! The client pays over gRPC, as any client does, and counts what a client sees: a payment takes from
//! the call to the message that it succeeded.

mod disk;
mod kinds;
mod load;
mod meters;
mod ratio;
mod static_invoice;
mod table;

use std::time::Duration;

use anyhow::{Result, ensure};

use self::kinds::Kind;
use self::load::{Cell, Limit, Measured};
use self::meters::Meters;
use crate::api::Api;
use crate::binaries::Binaries;
use crate::network::{ChannelPlan, Network};
use crate::node::Node;
use crate::ports::free_port;

/// The largest channel that ampd opens; half of it is on each side.
const CAPACITY_SAT: u64 = 1_000_000_000;
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

/// What to measure, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only these kinds of payments
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = kinds::ALL)]
    kinds: Vec<Kind>,
    /// How many payments at a time; more than a channel has room for are made fewer
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, MAX_HTLCS])]
    concurrency: Vec<usize>,
    /// The most payments for one line of the table
    #[arg(long, default_value_t = 4_000)]
    payments: usize,
    /// The most seconds for one line of the table
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Measure each line so often and print the fastest
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Then pay one static invoice so often, and compare the first payments with the last; 0: do not
    #[arg(long, default_value_t = 10_000)]
    static_payments: usize,
}

/// Two nodes, one channel, and what is read of them.
struct Bench {
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
    let bench = Bench::start(binaries).await?;
    println!(
        "4 KiB write and fdatasync on this disk: p50 {:.2} ms\n",
        table::ms(disk::sync_p50(bench.network["payer"].dir())?)
    );
    table::print_head();
    let mut lines = Vec::new();
    for (number, kind) in options.kinds.iter().enumerate() {
        if number > 0 {
            tokio::time::sleep(REST).await;
        }
        lines.extend(bench.measure_kind(*kind, &options).await?);
    }
    table::print_targets(&lines);
    if has_both(&options) {
        table::print_ratio(ratio::amp_by_bolt11(&bench, &options).await?);
    }
    if options.static_payments > 0 {
        tokio::time::sleep(REST).await;
        static_invoice::run(&bench, options.static_payments).await?;
    }
    bench.network.finish();
    Ok(())
}

impl Bench {
    async fn start(binaries: Binaries) -> Result<Self> {
        let mut network = Network::start(binaries).await?;
        let ports = [free_port()?, free_port()?];
        let nodes = [
            prepare(&network, "payer", ports[0])?,
            prepare(&network, "payee", ports[1])?,
        ];
        network.add(nodes.into()).await?;
        let plan = ChannelPlan::new("payer", "payee", CAPACITY_SAT).push(CAPACITY_SAT / 2);
        network.open(&[plan]).await?;
        let (payer, payee) = (network["payer"].api()?, network["payee"].api()?);
        let pids = [network["payer"].pid()?, network["payee"].pid()?];
        Ok(Self {
            payer,
            payee,
            payee_key: network["payee"].key().to_owned(),
            meters: Meters { ports, pids },
            network,
        })
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

/// Whether AMP to a key is to be compared with BOLT 11.
fn has_both(options: &Options) -> bool {
    let kinds = [Kind::AmpKey, Kind::Bolt11];
    kinds.iter().all(|kind| options.kinds.contains(kind))
        && options.concurrency.contains(&ratio::AT_A_TIME)
}

fn most_at_a_time(kind: Kind) -> usize {
    match kind {
        Kind::AmpShards => MAX_SETS,
        _ => MAX_HTLCS,
    }
}

/// A node as its owner would run it, that takes payments from anybody and shows its metrics.
fn prepare(network: &Network, name: &str, metrics_port: u16) -> Result<Node> {
    let mut node = network.prepare(name)?;
    node.set_raw("accept-amp", "true");
    node.set_raw("accept-keysend", "true");
    node.set("metrics-listen", &format!("127.0.0.1:{metrics_port}"));
    // What tests need for speed and for failure texts is not what is measured.
    node.set("log-level", "info,ldk=warn");
    node.set("chain-poll-interval", "1s");
    Ok(node)
}
