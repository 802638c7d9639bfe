//! Many payments, a fixed number of them under way at any time, and what they took.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Payment, PaymentFailureReason};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use anyhow::{Result, bail, ensure};
use tokio::task::JoinSet;

use super::Bench;
use super::kinds::{Kind, Requests};
use super::meters::Reading;
use crate::api::Api;

/// Before a payment that found the channel full is tried again.
const PAUSE: Duration = Duration::from_millis(5);
/// A channel that still has no room for a payment after so long never will.
const GIVE_UP: Duration = Duration::from_secs(60);

/// One line of the table before it is measured.
#[derive(Debug)]
pub struct Cell {
    pub kind: Kind,
    pub at_a_time: usize,
    pub requests: Requests,
    pub limit: Limit,
}

/// When it ends, whichever is first.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub payments: usize,
    /// From the start; payments under way then are still waited for and counted.
    pub time: Duration,
}

/// One payment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    latency: Duration,
    shards: usize,
    /// How often the channel had no room for it.
    retries: usize,
}

/// What came out. There is at least one payment in it.
#[derive(Debug)]
pub struct Measured {
    pub kind: Kind,
    pub at_a_time: usize,
    pub elapsed: Duration,
    /// What both nodes used meanwhile: payer, payee.
    pub used: [Reading; 2],
    samples: Vec<Sample>,
}

impl Measured {
    pub fn payments(&self) -> usize {
        self.samples.len()
    }

    pub fn shards(&self) -> usize {
        self.samples.iter().map(|sample| sample.shards).sum()
    }

    pub fn retries(&self) -> usize {
        self.samples.iter().map(|sample| sample.retries).sum()
    }

    /// Payments per second.
    pub fn rate(&self) -> f64 {
        self.payments() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that so many of 100 payments do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut latencies: Vec<_> = self.samples.iter().map(|sample| sample.latency).collect();
        latencies.sort_unstable();
        let index = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
        latencies.get(index).copied().unwrap_or_default()
    }
}

/// What the workers share.
struct Work {
    payer: Api,
    requests: Requests,
    limit: Limit,
    start: Instant,
    next: AtomicUsize,
}

/// Pays until a limit is reached.
pub async fn measure(bench: &Bench, cell: Cell) -> Result<Measured> {
    let before = bench.meters.read().await?;
    let start = Instant::now();
    let work = Arc::new(Work {
        payer: bench.payer.clone(),
        requests: cell.requests,
        limit: cell.limit,
        start,
        next: AtomicUsize::new(0),
    });
    let mut workers = JoinSet::new();
    for _ in 0..cell.at_a_time {
        let work = work.clone();
        workers.spawn(async move { work.run().await });
    }
    let mut samples = Vec::new();
    while let Some(done) = workers.join_next().await {
        samples.extend(done??);
    }
    let elapsed = start.elapsed();
    let after = bench.meters.read().await?;
    Ok(Measured {
        kind: cell.kind,
        at_a_time: cell.at_a_time,
        elapsed,
        used: [after[0].since(before[0]), after[1].since(before[1])],
        samples,
    })
}

impl Work {
    async fn run(&self) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        while let Some(request) = self.next_request() {
            samples.push(self.pay(request).await?);
        }
        Ok(samples)
    }

    fn next_request(&self) -> Option<SendPaymentRequest> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // The first one in any case, so that there is something to tell of.
        let is_over = number > 0 && self.start.elapsed() >= self.limit.time;
        if number >= self.limit.payments || is_over {
            return None;
        }
        self.requests.get(number)
    }

    /// Pays, and again as long as the channel is full: an HTLC keeps its place for a round trip
    /// longer than its payment lasts.
    async fn pay(&self, request: SendPaymentRequest) -> Result<Sample> {
        let request = SendPaymentRequest {
            no_inflight_updates: true,
            ..request
        };
        let start = Instant::now();
        let mut retries = 0;
        loop {
            let payment = self.payer.pay(request.clone()).await?;
            match (payment.status(), payment.failure_reason()) {
                (PaymentStatus::Succeeded, _) => {
                    return Ok(Sample {
                        latency: start.elapsed(),
                        shards: arrived(&payment),
                        retries,
                    });
                }
                (
                    _,
                    PaymentFailureReason::FailureReasonNoRoute
                    | PaymentFailureReason::FailureReasonInsufficientBalance,
                ) => retries += 1,
                (_, reason) => bail!("a payment failed: {}", reason.as_str_name()),
            }
            ensure!(
                start.elapsed() < GIVE_UP,
                "a payment found no room after {retries} attempts"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn arrived(payment: &Payment) -> usize {
    let attempts = payment.htlcs.iter();
    attempts
        .filter(|attempt| attempt.status() == HtlcStatus::Succeeded)
        .count()
}
