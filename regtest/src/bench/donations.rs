//! Payments to the donation page's invoice at a steady pace, with and without a thousand open pages that
//! hear of each: the pages must not slow the payments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lnd_api::proto::ampdrpc::DonationPageRequest;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::kinds::to_static_invoice;
use super::{Bench, SETTLE_LIMIT, pair, table};
use crate::api::Api;
use crate::binaries::Binaries;
use crate::wait::wait_for;

/// Payments per second.
pub const RATE: u32 = 50;
/// Open pages.
pub const STREAMS: usize = 1_000;
/// Pairs of measurements.
const TURNS: usize = 5;
/// Connections that are opened at the same time.
const AT_A_TIME: usize = 50;
/// Files of this process: the streams, and its own.
const FILES: u64 = STREAMS as u64 + 500;
/// How long the last event may take to reach all pages.
const LATE: Duration = Duration::from_secs(10);
const OPENING: Duration = Duration::from_secs(30);
const EVENT: &[u8] = b"event: payment";

/// What one measurement gave.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Payments per second that came to their end.
    pub rate: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// Measures in turn without and with open pages, and prints both and their ratio.
pub async fn run(binaries: Binaries, seconds: u64) -> Result<()> {
    raise_file_limit()?;
    let bench = Bench::start_with(binaries, pair::AMPD, |payee| {
        payee.set("donations-listen", "127.0.0.1:0");
    });
    let bench = bench.await?;
    bench.print_nodes().await?;
    let mut service = bench.payee.static_invoices.clone();
    let page = service.donation_page(DonationPageRequest {}).await?;
    let request = to_static_invoice(&page.into_inner().payment_request)?;
    // What is only done once is not measured: the way, the connections to the database.
    pay_at(&bench.payer, &request, 2).await?;
    table::print_pace_head();
    let mut paces = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (paces, streams) in paces.iter_mut().zip([0, STREAMS]) {
            let pace = measure(&bench, &request, seconds, streams).await?;
            table::print_pace(streams, &pace);
            paces.push(pace);
        }
    }
    let [without, with] = paces.map(|paces| median(&paces));
    table::print_pace_ratio(&without, &with);
    bench.network.finish();
    Ok(())
}

async fn measure(
    bench: &Bench,
    request: &SendPaymentRequest,
    seconds: u64,
    streams: usize,
) -> Result<Pace> {
    // Else they would hear of what was paid before.
    all_are_counted(bench).await?;
    let audience = Audience::open(bench, streams).await?;
    let (pace, payments) = pay_at(&bench.payer, request, seconds).await?;
    audience.heard(payments).await?;
    bench.network.wait_settled(SETTLE_LIMIT).await?;
    Ok(pace)
}

/// Waits until the page has counted what its invoice received, which it does a moment later.
async fn all_are_counted(bench: &Bench) -> Result<()> {
    let service = bench.payee.static_invoices.clone();
    wait_for("the page to count all payments", LATE, async || {
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

/// Pays at [`RATE`], whether earlier payments are done or not; the latency counts from the moment at
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
        rate: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50: percentile(50),
        p99: percentile(99),
    };
    Ok((pace, count))
}

/// Of each figure its own.
fn median(paces: &[Pace]) -> Pace {
    let middle = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    let seconds = |of: fn(&Pace) -> Duration| {
        Duration::from_secs_f64(middle(
            paces.iter().map(|pace| of(pace).as_secs_f64()).collect(),
        ))
    };
    Pace {
        rate: middle(paces.iter().map(|pace| pace.rate).collect()),
        p50: seconds(|pace| pace.p50),
        p99: seconds(|pace| pace.p99),
    }
}

/// Open pages, each of which counts what it hears.
struct Audience {
    /// Events that each of them was told.
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
            let missing = (streams - audience.heard.len()).min(AT_A_TIME);
            let opening = (0..missing).map(|_| open(&address));
            let opened = futures_util::future::try_join_all(opening);
            for stream in timeout(OPENING, opened).await?? {
                let heard = Arc::<AtomicU64>::default();
                audience.heard.push(heard.clone());
                audience.readers.spawn(listen(stream, heard));
            }
        }
        Ok(audience)
    }

    /// Checks that each page hears of each payment.
    async fn heard(mut self, payments: u64) -> Result<()> {
        wait_for("all pages to hear of all payments", LATE, async || {
            let heard = self.heard.iter().map(|one| one.load(Ordering::Relaxed));
            let (least, most) = heard.fold((payments, payments), |(least, most), heard| {
                (least.min(heard), most.max(heard))
            });
            ensure!(
                (least, most) == (payments, payments),
                "of {payments} payments pages have heard of {least} to {most}"
            );
            Ok(())
        })
        .await?;
        self.readers.shutdown().await;
        Ok(())
    }
}

/// A stream that has been told how everything stands.
async fn open(address: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.windows(12).any(|bytes| bytes == b"event: state") {
        let length = stream.read_buf(&mut head).await?;
        ensure!(length > 0, "no stream: {}", String::from_utf8_lossy(&head));
    }
    Ok(stream)
}

/// Counts events; one may be cut in two by the reads.
async fn listen(mut stream: TcpStream, heard: Arc<AtomicU64>) -> Result<()> {
    let mut text = Vec::with_capacity(8 * 1024);
    loop {
        let length = stream.read_buf(&mut text).await.context("a stream broke")?;
        ensure!(length > 0, "a stream has ended");
        let found = text
            .windows(EVENT.len())
            .filter(|bytes| *bytes == EVENT)
            .count();
        heard.fetch_add(found as u64, Ordering::Relaxed);
        // The beginning of the next one may be there already, but no whole one.
        let rest = text.len().saturating_sub(EVENT.len() - 1);
        text.drain(..rest);
    }
}

fn raise_file_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < FILES) {
        limit.current = Some(FILES);
        setrlimit(Resource::Nofile, limit).context("the limit of open files is too low")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_are_counted_once_wherever_they_are_cut() {
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
            assert_eq!(heard.load(Ordering::Relaxed), 6, "cut at {cut}");
        }
    }

    #[test]
    fn each_figure_has_its_own_median() {
        let pace = |rate, p50| Pace {
            rate,
            p50: Duration::from_millis(p50),
            p99: Duration::from_secs(1),
        };
        let found = median(&[pace(3.0, 1), pace(1.0, 2), pace(2.0, 9)]);
        assert_eq!((found.rate, found.p50), (2.0, Duration::from_millis(2)));
    }
}
