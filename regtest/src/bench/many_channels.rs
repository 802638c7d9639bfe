//! Payments of a node with one channel, and of the same node with many (`--channels`).

use std::time::Instant;

use anyhow::Result;

use super::compare::{figures, ratios};
use super::kinds::Kind;
use super::load::Measured;
use super::options::Options;
use super::ratio::AT_A_TIME;
use super::setup::prepare;
use super::table::print_target;
use super::{Bench, pair};
use crate::binaries::Binaries;
use crate::network::ChannelPlan;
use crate::node::Software;

/// The nodes that the further channels lead to. None of them takes part in the payments.
const PEERS: usize = 8;
/// How many channels are opened before the progress is printed.
const BATCH: usize = 120;
const CAPACITY_SAT: u64 = 100_000;

/// Target: payments/s of AMP to a key, with many channels divided by with one.
const MIN_RATE: f64 = 0.7;
/// Target: p50 of AMP to a key, sequential, with many channels divided by with one.
const MAX_LATENCY: f64 = 2.0;
/// Target: bytes per commit of the payer to store the channel manager.
const MAX_BYTES: f64 = 65_536.0;

/// Measures with one channel and with many, and prints the ratios.
pub(super) async fn run(binaries: Binaries, options: &Options) -> Result<()> {
    let mut bench = Bench::start(binaries, pair::AMPD).await?;
    let one = bench.measure_all(options).await?;
    bench.open_more(options.channels.saturating_sub(1)).await?;
    let many = bench.measure_all(options).await?;
    print_ratios(options.channels, &one, &many);
    bench.network.finish();
    Ok(())
}

impl Bench {
    /// Opens further channels of the payer.
    async fn open_more(&mut self, count: usize) -> Result<()> {
        let names: Vec<String> = (0..PEERS).map(|number| format!("peer-{number}")).collect();
        let nodes = names
            .iter()
            .map(|name| Ok(prepare(&self.network, name, Software::Ampd)?.0))
            .collect::<Result<_>>()?;
        self.network.add(nodes).await?;
        let plans: Vec<ChannelPlan<'_>> = names
            .iter()
            .cycle()
            .take(count)
            .map(|name| ChannelPlan::new("payer", name, CAPACITY_SAT))
            .collect();
        let start = Instant::now();
        for (index, batch) in plans.chunks(BATCH).enumerate() {
            self.network.open(batch).await?;
            eprintln!(
                "{} of {count} channels opened, {} s",
                index * BATCH + batch.len(),
                start.elapsed().as_secs()
            );
        }
        Ok(())
    }
}

fn print_ratios(channels: usize, one: &[Measured], many: &[Measured]) {
    println!("\n{channels} channels compared with one");
    for line in ratios(&figures(many), &figures(one)) {
        let (rate, latency) = (line.rate, 1.0 / line.p50);
        let what = format!("{}, {} at a time", line.kind.title(), line.at_a_time);
        let text = format!("{what}, payments/s");
        let is_target = line.kind == Kind::AmpKey;
        if is_target && line.at_a_time == AT_A_TIME {
            print_target(&text, rate, rate >= MIN_RATE, MIN_RATE);
        } else if is_target && line.at_a_time == 1 {
            let text = format!("{what}, p50");
            print_target(&text, latency, latency <= MAX_LATENCY, MAX_LATENCY);
        } else {
            println!("{text:<52} {rate:>7.2}  p50 {latency:.2}");
        }
    }
    for line in many {
        let used = line.used[0];
        if let (Some(bytes), Some(commits)) = (used.manager_bytes, used.commits) {
            let what = format!("{}, {} at a time", line.kind.title(), line.at_a_time);
            let text = format!("{what}, bytes of the manager per commit");
            let per_commit = bytes as f64 / commits.max(1) as f64;
            print_target(&text, per_commit, per_commit <= MAX_BYTES, MAX_BYTES);
        }
    }
}
