//! Payments to the donation page's invoice at a steady rate, with and without a thousand open
//! pages following them. Open pages must not slow down payments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lnd_api::proto::ampdrpc::DonationPageRequest;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::kinds::to_static_invoice;
use super::options::Options;
use super::pace::{Pace, Paces, RATE, STREAMS};
use super::progress::Progress;
use super::report::Report;
use super::time::ms;
use super::{Bench, SETTLE_LIMIT, pair};
use crate::api::Api;
use crate::binaries::Binaries;
use crate::wait::wait_for;

/// Connections opened concurrently.
const CONCURRENT_OPENS: usize = 50;
/// Open files of this process: the streams and its own.
const OPEN_FILES: u64 = STREAMS as u64 + 500;
/// Time for the last event to reach all pages.
const TIMEOUT: Duration = Duration::from_secs(10);
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
const EVENT: &[u8] = b"event: payment";

/// Alternates measurements without and with open pages, and prints both and their ratio.
pub(super) async fn run(binaries: Binaries, options: &Options, report: &mut Report) -> Result<()> {
    raise_file_limit()?;
    let bench = Bench::start_with(binaries, pair::AMPD, |payee| {
        payee.set("donations-listen", "127.0.0.1:0");
    });
    let bench = bench.await?;
    let mut service = bench.payee.static_invoices.clone();
    let page = service.donation_page(DonationPageRequest {}).await?;
    let request = to_static_invoice(&page.into_inner().payment_request)?;
    // Excludes one-time costs: finding the route, opening database connections.
    pay_at(&bench.payer, &request, 2).await?;
    let paces = alternate(&bench, &request, options).await?;
    println!("\n{}", bench.title);
    paces.print();
    report.add("donations", &paces)?;
    report.judge(paces.verdicts());
    bench.network.finish();
    Ok(())
}

async fn alternate(
    bench: &Bench,
    request: &SendPaymentRequest,
    options: &Options,
) -> Result<Paces> {
    let (rounds, seconds) = (options.rounds(), options.seconds);
    let mut progress = Progress::new(2 * rounds, Duration::from_secs(seconds));
    let mut paces = Paces::default();
    for round in 1..=rounds {
        for streams in [0, STREAMS] {
            progress.next(&format!("round {round} of {rounds}, {streams} open pages"));
            let pace = measure(bench, request, seconds, streams).await?;
            eprintln!("    p50 {:.1} ms, p99 {:.1} ms", pace.p50_ms, pace.p99_ms);
            match streams {
                0 => paces.without.push(pace),
                _ => paces.with_open_pages.push(pace),
            }
        }
    }
    Ok(paces)
}

async fn measure(
    bench: &Bench,
    request: &SendPaymentRequest,
    seconds: u64,
    streams: usize,
) -> Result<Pace> {
    // Otherwise they would receive events for earlier payments.
    all_are_counted(bench).await?;
    let audience = Audience::open(bench, streams).await?;
    let (pace, payments) = pay_at(&bench.payer, request, seconds).await?;
    audience.heard(payments).await?;
    bench.network.wait_settled(SETTLE_LIMIT).await?;
    Ok(pace)
}

/// Waits until the page has counted everything its invoice received.
async fn all_are_counted(bench: &Bench) -> Result<()> {
    let service = bench.payee.static_invoices.clone();
    wait_for("all payments on the page", TIMEOUT, async || {
        let page = service
            .clone()
            .donation_page(DonationPageRequest {})
            .await?;
        let page = page.into_inner();
        let received: i64 = page.invoices.iter().map(|one| one.amt_paid_msat).sum();
        ensure!(page.amt_msat == received, "{} of {received}", page.amt_msat);
        Ok(())
    })
    .await
}

/// Pays at [`RATE`] without waiting for earlier payments. Latency is measured from the time at
/// which the payment was due.
async fn pay_at(payer: &Api, request: &SendPaymentRequest, seconds: u64) -> Result<(Pace, u64)> {
    let start = Instant::now();
    let count = u64::from(RATE) * seconds;
    let mut payments = JoinSet::new();
    for number in 0..count {
        let due = start + Duration::from_secs(number) / RATE;
        sleep_until(due.into()).await;
        let (payer, request) = (payer.clone(), request.clone());
        payments.spawn(async move {
            let payment = payer.pay(request).await?;
            let reason = payment.failure_reason();
            ensure!(
                payment.status() == PaymentStatus::Succeeded,
                "a payment failed: {}",
                reason.as_str_name()
            );
            Ok(due.elapsed())
        });
    }
    let mut latencies = Vec::new();
    while let Some(latency) = payments.join_next().await {
        latencies.push(latency??);
    }
    let elapsed = start.elapsed();
    latencies.sort_unstable();
    let percentile = |percent: usize| {
        let index = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
        latencies.get(index).copied().unwrap_or_default()
    };
    let pace = Pace {
        payments_per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50_ms: ms(percentile(50)),
        p99_ms: ms(percentile(99)),
    };
    Ok((pace, count))
}

/// Open pages, each counting the events it receives.
struct Audience {
    /// Events received by each page.
    heard: Vec<Arc<AtomicU64>>,
    readers: JoinSet<Result<()>>,
}

impl Audience {
    async fn open(bench: &Bench, streams: usize) -> Result<Self> {
        let address = bench.network["payee"].donation_address()?;
        let mut audience = Self {
            heard: Vec::new(),
            readers: JoinSet::new(),
        };
        while audience.heard.len() < streams {
            let missing = (streams - audience.heard.len()).min(CONCURRENT_OPENS);
            let opening = (0..missing).map(|_| open(&address));
            let opened = futures_util::future::try_join_all(opening);
            for stream in timeout(OPEN_TIMEOUT, opened).await?? {
                let heard = Arc::<AtomicU64>::default();
                audience.heard.push(heard.clone());
                audience.readers.spawn(listen(stream, heard));
            }
        }
        Ok(audience)
    }

    /// Checks that every page receives an event for every payment.
    async fn heard(mut self, payments: u64) -> Result<()> {
        wait_for("all payment events", TIMEOUT, async || {
            let heard = self.heard.iter().map(|one| one.load(Ordering::Relaxed));
            let (least, most) = heard.fold((payments, payments), |(least, most), heard| {
                (least.min(heard), most.max(heard))
            });
            ensure!(
                (least, most) == (payments, payments),
                "pages received {least} to {most} of {payments} payment events"
            );
            Ok(())
        })
        .await?;
        self.readers.shutdown().await;
        Ok(())
    }
}

/// Opens an event stream and waits for its initial state.
async fn open(address: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.windows(12).any(|bytes| bytes == b"event: state") {
        let length = stream.read_buf(&mut head).await?;
        ensure!(
            length > 0,
            "no event stream: {}",
            String::from_utf8_lossy(&head)
        );
    }
    Ok(stream)
}

/// Counts events, including those split across reads.
async fn listen(mut stream: TcpStream, heard: Arc<AtomicU64>) -> Result<()> {
    let mut text = Vec::with_capacity(8 * 1024);
    loop {
        let length = stream
            .read_buf(&mut text)
            .await
            .context("an event stream failed")?;
        ensure!(length > 0, "an event stream ended");
        let found = text
            .windows(EVENT.len())
            .filter(|bytes| *bytes == EVENT)
            .count();
        heard.fetch_add(found as u64, Ordering::Relaxed);
        // Keep a possible partial event for the next read.
        let rest = text.len().saturating_sub(EVENT.len() - 1);
        text.drain(..rest);
    }
}

fn raise_file_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < OPEN_FILES) {
        limit.current = Some(OPEN_FILES);
        setrlimit(Resource::Nofile, limit).context("cannot raise the limit on open files")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_events_once_wherever_they_are_split() {
        let text = b"event: payment\ndata: 1\n\nevent: payment\ndata: 2\n\n:\n\n".repeat(3);
        for cut in 1..text.len() {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let heard = Arc::<AtomicU64>::default();
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, _) = listener.accept().await.unwrap();
            let listening = tokio::spawn(listen(stream, heard.clone()));
            for part in [&text[..cut], &text[cut..]] {
                sender.write_all(part).await.unwrap();
                sender.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(sender);
            assert!(listening.await.unwrap().is_err());
            assert_eq!(heard.load(Ordering::Relaxed), 6, "split at {cut}");
        }
    }
}
