//! A real ampd on the large database: how long it takes to start, and how much memory it needs.

use std::path::Path;
use std::time::Instant;

use ampd::rpc::proto::ampdrpc::invoice_reference::Name;
use ampd::rpc::proto::ampdrpc::{ExportInvoicePaymentsRequest, InvoiceReference};
use ampd::rpc::proto::lnrpc::InvoiceSubscription;
use ampd::storage::Store;
use anyhow::{Context, Result, ensure};
use regtest::api::Api;
use regtest::binaries::Binaries;
use regtest::network::Network;

use crate::fill::{History, static_addr};
use crate::memory_mb;

/// Events that a subscriber who was away for very long reads.
const MISSED: usize = 50_000;

/// Starts ampd on the database in `directory`; returns its peak memory in MB.
pub async fn start_on(directory: &Path, history: History) -> Result<u64> {
    let binaries = Binaries::at(env!("CARGO_BIN_EXE_ampd"), env!("CARGO_BIN_EXE_ampcli"));
    let mut network = Network::start(binaries).await?;
    let mut node = network.prepare("receiver")?;
    node.set("log-level", "info");
    std::fs::create_dir_all(node.network_dir())?;
    std::fs::copy(
        Store::path_in(directory),
        Store::path_in(&node.network_dir()),
    )?;
    let start = Instant::now();
    network.add(vec![node]).await?;
    println!("\nampd starts on it in {} ms", start.elapsed().as_millis());
    let pid = network["receiver"].pid()?.to_string();
    let api = network["receiver"].api()?;
    println!(
        "  resident after the start: {} MB",
        memory_mb(&pid, "VmRSS")?
    );
    resume(&api).await?;
    println!(
        "  after {MISSED} missed events: {} MB",
        memory_mb(&pid, "VmRSS")?
    );
    export(&api, history.static_payments()).await?;
    let peak = memory_mb(&pid, "VmHWM")?;
    println!("  peak: {peak} MB");
    network.finish();
    Ok(peak)
}

/// A subscriber that has heard of the first settlement and of nothing since.
async fn resume(api: &Api) -> Result<()> {
    let since = InvoiceSubscription {
        settle_index: 1,
        ..Default::default()
    };
    let start = Instant::now();
    let events = api.lightning.clone().subscribe_invoices(since).await?;
    let mut events = events.into_inner();
    for _ in 0..MISSED {
        events.message().await?.context("the stream has ended")?;
    }
    println!(
        "  {MISSED} missed events come in {} ms",
        start.elapsed().as_millis()
    );
    Ok(())
}

/// The static invoice's whole ledger as CSV.
async fn export(api: &Api, payments: u64) -> Result<()> {
    let name = Some(Name::PaymentAddr(static_addr().to_vec()));
    let request = ExportInvoicePaymentsRequest {
        invoice: Some(InvoiceReference { name }),
        ..Default::default()
    };
    let start = Instant::now();
    let mut service = api.static_invoices.clone();
    let chunks = service.export_invoice_payments(request).await?;
    let mut chunks = chunks.into_inner();
    let mut lines = 0;
    while let Some(chunk) = chunks.message().await? {
        lines += chunk.csv.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    // The payments that the benchmark made itself are there, too.
    ensure!(lines > payments, "{lines} lines of {payments} payments");
    println!(
        "  {lines} lines of CSV come in {} ms",
        start.elapsed().as_millis()
    );
    Ok(())
}
