//! Sends payments with a fixed concurrency and measures them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Payment, PaymentFailureReason};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use tokio::task::JoinSet;

use super::Bench;
use super::kinds::Requests;
use super::meters::{self, Reading};
use crate::api::Api;

/// Delay before retrying a payment that found the channel full.
const RETRY_DELAY: Duration = Duration::from_millis(5);
/// Pause before each payment that is sent alone, so that the nodes are idle. Otherwise it would wait for the
/// commitments that remove the HTLC of the one before.
const PAUSE: Duration = Duration::from_millis(20);
/// Time after which a channel that is still full is an error.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Parameters of one line of the table.
#[derive(Debug)]
pub(super) struct Cell {
    pub at_a_time: usize,
    pub requests: Requests,
    pub limit: Limit,
}

/// Ends a measurement, whichever limit is reached first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub payments: usize,
    /// Measured from the start; payments in flight at the end are awaited and counted.
    pub time: Duration,
}

/// One payment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    latency: Duration,
    shards: usize,
    /// Number of attempts that found the channel full.
    retries: usize,
}

/// Result of a measurement with at least one payment.
#[derive(Debug)]
pub(super) struct Measured {
    /// Without the pauses between payments.
    pub elapsed: Duration,
    /// Resources that the nodes on the route used during the measurement, the payer first.
    pub used: Vec<Reading>,
    samples: Vec<Sample>,
}

impl Measured {
    pub(super) fn payments(&self) -> usize {
        self.samples.len()
    }

    pub(super) fn shards(&self) -> usize {
        self.samples.iter().map(|sample| sample.shards).sum()
    }

    pub(super) fn retries(&self) -> usize {
        self.samples.iter().map(|sample| sample.retries).sum()
    }

    /// The latency that `percent` of all payments do not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut latencies: Vec<_> = self.samples.iter().map(|sample| sample.latency).collect();
        latencies.sort_unstable();
        let index = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
        latencies.get(index).copied().unwrap_or_default()
    }
}

/// State shared by the workers.
struct Work {
    payer: Api,
    requests: Requests,
    limit: Limit,
    /// Before each payment.
    pause: Option<Duration>,
    start: Instant,
    next: AtomicUsize,
}

/// Sends payments until a limit is reached.
pub(super) async fn measure(bench: &Bench, cell: Cell) -> Result<Measured> {
    let before = meters::read(&bench.meters).await?;
    let start = Instant::now();
    let work = Arc::new(Work {
        payer: bench.payer.clone(),
        requests: cell.requests,
        limit: cell.limit,
        pause: (cell.at_a_time == 1).then_some(PAUSE),
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
    let elapsed = match cell.at_a_time {
        1 => samples.iter().map(|sample| sample.latency).sum(),
        _ => start.elapsed(),
    };
    let after = meters::read(&bench.meters).await?;
    Ok(Measured {
        elapsed,
        used: after
            .into_iter()
            .zip(before)
            .map(|(after, before)| after.since(before))
            .collect(),
        samples,
    })
}

impl Work {
    async fn run(&self) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        while let Some(request) = self.next_request() {
            if let Some(pause) = self.pause {
                tokio::time::sleep(pause).await;
            }
            samples.push(pay(&self.payer, &request).await?);
        }
        Ok(samples)
    }

    fn next_request(&self) -> Option<SendPaymentRequest> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Always send the first one, so that there is a result.
        let is_over = number > 0 && self.start.elapsed() >= self.limit.time;
        if number >= self.limit.payments || is_over {
            return None;
        }
        self.requests.get(number)
    }
}

/// Pays, retrying while the channel is full: an HTLC occupies its slot for one round trip longer than
/// its payment takes.
///
/// # Errors
/// If the payment fails for another reason, or the channel remains full.
pub(super) async fn pay(payer: &Api, request: &SendPaymentRequest) -> Result<Sample> {
    let request = SendPaymentRequest {
        no_inflight_updates: true,
        ..request.clone()
    };
    let start = Instant::now();
    let mut retries = 0;
    loop {
        let payment = payer.pay(request.clone()).await?;
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
            start.elapsed() < RETRY_TIMEOUT,
            "the channel was still full after {retries} attempts"
        );
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

fn arrived(payment: &Payment) -> usize {
    let attempts = payment.htlcs.iter();
    attempts
        .filter(|attempt| attempt.status() == HtlcStatus::Succeeded)
        .count()
}
