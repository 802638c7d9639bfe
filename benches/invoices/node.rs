//! ampd itself on the two databases: response times, startup time and memory.

use std::path::Path;
use std::time::{Duration, Instant};

use ampd::storage::Store;
use anyhow::{Context, Result, ensure};
use lnd_api::proto::ampdrpc::invoice_reference::Name;
use lnd_api::proto::ampdrpc::{ExportInvoicePaymentsRequest, InvoiceReference};
use lnd_api::proto::invoicesrpc::LookupInvoiceMsg;
use lnd_api::proto::invoicesrpc::lookup_invoice_msg::InvoiceRef;
use lnd_api::proto::lnrpc::InvoiceSubscription;
use regtest::api::Api;
use regtest::binaries::Binaries;
use regtest::network::Network;

use crate::common::fill::{History, invoice_hash, static_addr};
use crate::common::{Samples, memory_mb, warm};
use crate::{LARGE, SAMPLES, SMALL, WARM_UP, ordinary};

const NAMES: [&str; 2] = ["small", "large"];
/// Events read by a subscriber that was disconnected for very long.
const MISSED: usize = 50_000;

/// Two nodes without channels, one on each database.
pub(crate) struct Nodes {
    network: Network,
}

impl Nodes {
    /// Starts the nodes. `directory` contains a directory per node, with its database.
    pub(crate) async fn start(directory: &Path) -> Result<Self> {
        let binaries = Binaries::at(env!("CARGO_BIN_EXE_ampd"));
        let mut network = Network::start(binaries).await?;
        for name in NAMES {
            let mut node = network.prepare(name)?;
            node.set("log-level", "info");
            // The first start creates the seed.
            network.add(vec![node]).await?;
            network[name].stop().await?;
            let database = Store::path_in(&network[name].network_dir());
            std::fs::rename(Store::path_in(&directory.join(name)), &database)?;
            warm(&database)?;
            let start = Instant::now();
            network.restart(&[name]).await?;
            println!(
                "ampd starts on the {name} database in {} ms",
                start.elapsed().as_millis()
            );
        }
        Ok(Self { network })
    }

    /// The ratios of AddInvoice and LookupInvoiceV2 over gRPC.
    pub(crate) async fn ratios(&self) -> Result<[f64; 2]> {
        let (small, large) = (self.network["small"].api()?, self.network["large"].api()?);
        let mut added = Samples::after(WARM_UP);
        for n in 0..WARM_UP + SAMPLES {
            added.add(n, add_invoice(&small).await?, add_invoice(&large).await?);
        }
        let mut found = Samples::after(WARM_UP);
        for n in 0..WARM_UP + SAMPLES {
            let first = lookup(&small, SMALL, n).await?;
            found.add(n, first, lookup(&large, LARGE, n).await?);
        }
        Ok([
            added.report("AddInvoice, gRPC"),
            found.report("LookupInvoiceV2, gRPC"),
        ])
    }

    /// Sends very large requests to the node on the large database; returns its peak memory in MB.
    pub(crate) async fn memory(self) -> Result<u64> {
        let large = &self.network["large"];
        let (api, pid) = (large.api()?, large.pid()?.to_string());
        let resident = |when: &str| -> Result<()> {
            println!("  {when}: {} MB", memory_mb(&pid, "VmRSS")?);
            Ok(())
        };
        println!("\nmemory of ampd on the large database");
        resident("before the requests")?;
        resume(&api).await?;
        resident("after that")?;
        export(&api, LARGE.static_payments()).await?;
        resident("after that")?;
        let peak = memory_mb(&pid, "VmHWM")?;
        println!("  peak: {peak} MB");
        self.network.finish();
        Ok(peak)
    }
}

async fn add_invoice(api: &Api) -> Result<Duration> {
    let start = Instant::now();
    api.invoice(50_000).await?;
    Ok(start.elapsed())
}

/// Looks up a different paid BOLT 11 invoice each time.
async fn lookup(api: &Api, history: History, n: usize) -> Result<Duration> {
    let hash = invoice_hash(ordinary(history, n as u64));
    let request = LookupInvoiceMsg {
        invoice_ref: Some(InvoiceRef::PaymentHash(hash.0.to_vec())),
        ..Default::default()
    };
    let mut service = api.invoices.clone();
    let start = Instant::now();
    let found = service.lookup_invoice_v2(request).await?;
    let took = start.elapsed();
    ensure!(
        found.get_ref().htlcs.len() > 1,
        "the invoice has fewer than two HTLCs"
    );
    Ok(took)
}

/// Resumes a subscription that has seen the first settlement only.
async fn resume(api: &Api) -> Result<()> {
    let since = InvoiceSubscription {
        settle_index: 1,
        ..Default::default()
    };
    let start = Instant::now();
    let events = api.lightning.clone().subscribe_invoices(since).await?;
    let mut events = events.into_inner();
    for _ in 0..MISSED {
        events
            .message()
            .await?
            .context("event stream ended early")?;
    }
    let took = start.elapsed().as_millis();
    println!("  {MISSED} missed events arrive in {took} ms");
    Ok(())
}

/// Exports all payments of the static invoice as CSV.
async fn export(api: &Api, payments: u64) -> Result<()> {
    let name = Some(Name::PaymentAddr(static_addr().as_bytes().to_vec()));
    let request = ExportInvoicePaymentsRequest {
        invoice: Some(InvoiceReference { name }),
        ..Default::default()
    };
    let start = Instant::now();
    let mut service = api.static_invoices.clone();
    let mut chunks = service.export_invoice_payments(request).await?.into_inner();
    let mut lines = 0;
    while let Some(chunk) = chunks.message().await? {
        lines += chunk.csv.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    // Includes the payments made by the benchmark itself.
    ensure!(
        lines > payments,
        "only {lines} lines for {payments} payments"
    );
    let took = start.elapsed().as_millis();
    println!("  {lines} lines of CSV arrive in {took} ms");
    Ok(())
}
