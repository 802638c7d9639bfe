//! Constant load for a long time (`--soak`): the rate must not fall, and nothing may grow without limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::kinds::SHARD_MSAT;
use super::report::Report;
use super::statistics::Spread;
use super::targets::{self, AT_A_TIME};
use super::vitals::{Vitals, mb};
use super::{Bench, load, pair};
use crate::api::{Api, amp_to};
use crate::binaries::Binaries;

const MINUTE: Duration = Duration::from_secs(60);

/// One minute of the soak.
#[derive(Clone, Debug, Serialize)]
struct Minute {
    /// 0 for the warm-up, which is not counted.
    number: u64,
    payments_per_second: f64,
    /// At the end of the minute: payer, payee.
    nodes: Vec<Vitals>,
}

/// Parses the length of a soak, for example `10m`.
pub(super) fn length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let is_whole = length.subsec_nanos() == 0 && length.as_secs() % MINUTE.as_secs() == 0;
    if !is_whole || length < 2 * MINUTE {
        return Err(
            "expected whole minutes, at least 2m: the last is compared with the first".into(),
        );
    }
    Ok(length)
}

/// Pays AMP to a key without a pause, and prints a line per minute.
pub(super) async fn run(binaries: Binaries, length: Duration, report: &mut Report) -> Result<()> {
    let bench = Bench::start(binaries, pair::AMPD).await?;
    println!("\n{}", bench.title);
    let minutes = length.as_secs() / MINUTE.as_secs();
    println!(
        "AMP to a key, {AT_A_TIME} at once, for {minutes} minutes after a minute of warm-up, which is \
         not counted.\nThe payee returns what it has received once a minute, in one payment.\n"
    );
    // Waits for the route.
    let request = amp_to(&bench.payee_key, SHARD_MSAT)?;
    bench.network.pay("payer", &request).await?;
    let counted = soak(&bench, &request, minutes).await?;
    report.add("soak", &counted)?;
    if let [_, first, .., last] = counted.as_slice() {
        let ratio = Spread::of_ratios(&[last.payments_per_second], &[first.payments_per_second]);
        report.judge(ratio.map(|ratio| targets::STEADY_RATE.judge(ratio)));
    }
    bench.network.finish();
    Ok(())
}

/// Returns the warm-up and these minutes.
async fn soak(bench: &Bench, request: &SendPaymentRequest, minutes: u64) -> Result<Vec<Minute>> {
    print_head();
    let mut load = Load::start(&bench.payer, request);
    let start = Instant::now();
    let (mut counted, mut before) = (Vec::new(), (start, 0));
    for number in 0..=minutes {
        let end = start + MINUTE * u32::try_from(number + 1)?;
        load.run_until(end).await?;
        let now = (Instant::now(), load.paid());
        let paid = now.1 - before.1;
        let minute = Minute {
            number,
            payments_per_second: paid as f64 / (now.0 - before.0).as_secs_f64(),
            nodes: vitals(bench).await?,
        };
        minute.print();
        counted.push(minute);
        before = now;
        give_back(bench, paid).await?;
    }
    load.stop().await?;
    Ok(counted)
}

/// Returns the amount of these payments to the payer, whose balance would not last otherwise.
async fn give_back(bench: &Bench, payments: u64) -> Result<()> {
    let payer_key = bench.network["payer"].key();
    let request = amp_to(payer_key, payments.max(1) * SHARD_MSAT)?;
    load::pay(&bench.payee, &request).await?;
    Ok(())
}

async fn vitals(bench: &Bench) -> Result<Vec<Vitals>> {
    let mut vitals = Vec::new();
    for (name, meter) in ["payer", "payee"].into_iter().zip(&bench.meters) {
        vitals.push(Vitals::of(&bench.network[name], meter).await?);
    }
    Ok(vitals)
}

/// Workers that pay until they are stopped.
struct Load {
    paid: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    workers: JoinSet<Result<()>>,
}

impl Load {
    fn start(payer: &Api, request: &SendPaymentRequest) -> Self {
        let mut load = Self {
            paid: Arc::default(),
            is_over: Arc::default(),
            workers: JoinSet::new(),
        };
        for _ in 0..AT_A_TIME {
            let (payer, request) = (payer.clone(), request.clone());
            let (paid, is_over) = (load.paid.clone(), load.is_over.clone());
            load.workers.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    load::pay(&payer, &request).await?;
                    paid.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        load
    }

    fn paid(&self) -> u64 {
        self.paid.load(Ordering::Relaxed)
    }

    /// Waits until this time.
    ///
    /// # Errors
    /// If a payment fails.
    async fn run_until(&mut self, end: Instant) -> Result<()> {
        match timeout_at(end.into(), self.workers.join_next()).await {
            Err(_) => Ok(()),
            Ok(Some(ended)) => ended?,
            Ok(None) => bail!("there are no workers"),
        }
    }

    async fn stop(mut self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended??;
        }
        Ok(())
    }
}

fn print_head() {
    println!(
        "{:>7} {:>9}  {:>15}  {:>17}  {:>17}",
        "", "", "RSS in MB", "databases in MB", "managers in kB"
    );
    println!(
        "{:>7} {:>9}  {:>15}  {:>17}  {:>17}",
        "minute", "paym./s", "payer + payee", "payer + payee", "payer + payee"
    );
}

impl Minute {
    fn print(&self) {
        let each = |value: fn(&Vitals) -> f64| {
            let values = self.nodes.iter().map(|node| format!("{:.1}", value(node)));
            values.collect::<Vec<_>>().join(" + ")
        };
        let number = match self.number {
            0 => "warm-up".to_owned(),
            number => number.to_string(),
        };
        println!(
            "{number:>7} {:>9.1}  {:>15}  {:>17}  {:>17}",
            self.payments_per_second,
            each(|node| mb(node.rss)),
            each(|node| mb(node.database)),
            each(|node| 1e3 * mb(node.manager)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_in_whole_minutes_of_which_there_are_two() {
        assert_eq!(length("10m"), Ok(10 * MINUTE));
        assert_eq!(length("1h 30m"), Ok(90 * MINUTE));
        assert!(length("1m").is_err() && length("150s").is_err() && length("long").is_err());
    }
}
