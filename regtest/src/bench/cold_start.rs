//! How long a node with history takes to start (`--cold-start`).

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::kinds::{self, Kind};
use super::load::{self, Cell, Limit};
use super::report::Report;
use super::statistics::Spread;
use super::targets::{self, AT_A_TIME};
use super::time::ms;
use super::vitals::{mb, rss};
use super::{Bench, SETTLE_LIMIT, pair};
use crate::binaries::Binaries;

/// Number of starts with the same data.
const STARTS: usize = 5;
/// Only the number of payments ends the load.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3_600);

/// What the node has before it is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    channels: usize,
    payments: usize,
    /// Number of channels of the second series.
    more_channels: usize,
}

impl FromStr for Scale {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<usize> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let numbers: [usize; 3] = numbers
            .try_into()
            .ok()
            .context("expected three numbers: channels, payments, channels")?;
        let [channels, payments, more_channels] = numbers;
        ensure!(
            channels > 0 && channels <= more_channels,
            "expected at least one channel, and no fewer in the second series"
        );
        Ok(Self {
            channels,
            payments,
            more_channels,
        })
    }
}

/// Starts of a node with the same data.
#[derive(Clone, Debug, Serialize)]
struct Series {
    channels: usize,
    payments: usize,
    /// From exec to the first answer to GetInfo, polled every 20 ms.
    start_ms: Spread,
    /// Memory in use when its channels are usable again.
    rss_mb: Spread,
}

/// Restarts the payer with few channels and many payments, then the same node with more channels.
pub(super) async fn run(binaries: Binaries, scale: Scale, report: &mut Report) -> Result<()> {
    let mut bench = Bench::start(binaries, pair::AMPD).await?;
    bench.open_until(scale.channels).await?;
    pay(&bench, scale.payments).await?;
    let few = series(&mut bench, scale.channels, scale.payments).await?;
    bench.open_until(scale.more_channels).await?;
    let many = series(&mut bench, scale.more_channels, scale.payments).await?;
    println!("\n{}", bench.title);
    bench.network.finish();
    print(&[&few, &many]);
    report.add("cold-start", &[&few, &many])?;
    let what = format!("{} channels, {} payments", few.channels, few.payments);
    report.judge([
        targets::START_MS.judge_one(&what, few.start_ms),
        targets::START_MB.judge_one(&what, few.rss_mb),
        targets::START_OF_MANY_MS.judge_one(&format!("{} channels", many.channels), many.start_ms),
    ]);
    Ok(())
}

async fn pay(bench: &Bench, count: usize) -> Result<()> {
    eprintln!("paying {count} times, {AT_A_TIME} at once");
    // Waits for the route.
    let route = kinds::not_supported(bench, Kind::AmpKey).await?;
    ensure!(route.is_none(), "AMP is not supported: {route:?}");
    let cell = Cell {
        at_a_time: AT_A_TIME,
        requests: kinds::requests(bench, Kind::AmpKey, count).await?,
        limit: Limit {
            payments: count,
            time: NO_LIMIT,
        },
    };
    load::measure(bench, cell).await?;
    bench.network.wait_settled(SETTLE_LIMIT).await
}

async fn series(bench: &mut Bench, channels: usize, payments: usize) -> Result<Series> {
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for number in 1..=STARTS {
        let node = &mut bench.network["payer"];
        let status = node.stop().await?;
        ensure!(status.success(), "the node ended with {status}");
        node.start().await?;
        times.push(ms(node.started_in()?));
        bench.network.wait_usable().await?;
        memory.push(mb(rss(bench.network["payer"].pid()?)?));
        eprintln!(
            "start {number} of {STARTS} with {channels} channels: {:.0} ms, {:.1} MB",
            times[number - 1],
            memory[number - 1]
        );
    }
    Ok(Series {
        channels,
        payments,
        start_ms: Spread::of(&times).context("no starts")?,
        rss_mb: Spread::of(&memory).context("no starts")?,
    })
}

fn print(series: &[&Series]) {
    println!("Medians of {STARTS} starts (range), from exec to the answer to GetInfo\n");
    println!(
        "{:>8} {:>8}  {:>30}  {:>26}",
        "channels", "payments", "start, ms", "RSS, MB"
    );
    for one in series {
        println!(
            "{:>8} {:>8}  {:>30}  {:>26}",
            one.channels, one.payments, one.start_ms, one.rss_mb
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_is_three_numbers() {
        let scale = Scale {
            channels: 100,
            payments: 10_000,
            more_channels: 1_000,
        };
        assert_eq!("100,10000,1000".parse::<Scale>().unwrap(), scale);
        for wrong in ["100,10000", "0,1,1", "100,1,50", "a,b,c", ""] {
            assert!(wrong.parse::<Scale>().is_err(), "{wrong}");
        }
    }
}
