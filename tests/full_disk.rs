//! A full disk: payments stop, the node reports why, nothing is lost, and it resumes on its own.
//!
//! The tests are ignored where no tmpfs can be mounted.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test may panic"
)]

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bitcoin::Txid;
use bitcoin::hashes::Hash;
use lnd_api::proto::lnrpc::close_status_update::Update;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{CloseChannelRequest, Payment, SendCoinsRequest};
use regtest::api::amp_to;
use regtest::binaries::Binaries;
use regtest::channel_point::parse_point;
use regtest::crash::reconcile::Books;
use regtest::network::{ChannelPlan, Network};
use regtest::tmpfs::SmallDisk;
use regtest::trials;
use regtest::wait::wait_for;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::{Code, Status};

const CAPACITY_SAT: u64 = 5_000_000;
const AMOUNT_MSAT: u64 = 1_000_000;
const IN_FLIGHT: usize = 32;
const DISK_MIB: u32 = 24;
/// An address not owned by any of the nodes.
const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const LIMIT: Duration = Duration::from_secs(30);
/// HTLCs of completed payments are removed from the channels within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// Logged once when commits start to fail, and once when they succeed again.
const FAILS: &str = "the database is not writable:";
const WRITABLE_AGAIN: &str = "the database is writable again";

fn main() -> ExitCode {
    let list = trials![
        full_disk_stops_payments_and_loses_no_funds,
        nothing_is_broadcast_while_the_disk_is_full,
    ];
    trials::run([list.ignored_if(SmallDisk::obstacle())])
}

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}

async fn full_disk_stops_payments_and_loses_no_funds() -> Result<()> {
    let (mut network, disk, _) = network_with_a_small_disk().await?;
    let total = network.check_balances().await?;

    let payments = fill_under_load(&network, &disk).await?;
    disk.clear()?;
    wait_logged(&network, WRITABLE_AGAIN, 1).await?;
    for ended in payments.join_all().await {
        succeeded(ended)?;
    }
    check(&network, total).await?;

    let payments = fill_under_load(&network, &disk).await?;
    stops_and_refuses_to_start(&mut network).await?;
    disk.clear()?;
    network.restart(&["alice"]).await?;
    network.wait_usable().await?;
    payments.join_all().await;
    check(&network, total).await?;

    let payments = fill_under_load(&network, &disk).await?;
    network.kill(&["alice"])?;
    disk.clear()?;
    network.restart(&["alice"]).await?;
    network.wait_usable().await?;
    payments.join_all().await;
    check(&network, total).await?;
    // It works as before.
    let request = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    network.pay("alice", &request).await?;
    check(&network, total).await?;
    network.finish();
    Ok(())
}

/// A commitment broadcast before its database commit could be revoked after a restart.
async fn nothing_is_broadcast_while_the_disk_is_full() -> Result<()> {
    let (network, disk, points) = network_with_a_small_disk().await?;
    let total = network.check_balances().await?;

    let payments = fill_under_load(&network, &disk).await?;
    let refused = close_by_force(&network, "alice", &points[0]).await;
    let mempool = network.bitcoind.mempool().await?;
    let Err(refusal) = refused else {
        bail!("the close was started; the mempool holds {mempool:?}");
    };
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    assert!(refusal.message().contains("full"), "{refusal}");
    let refusal = send_coins(&network, "alice").await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    assert!(refusal.message().contains("full"), "{refusal}");
    let mempool = network.bitcoind.mempool().await?;
    assert!(mempool.is_empty(), "the mempool holds {mempool:?}");

    // The peer's error makes Alice's LDK force-close the channel.
    let theirs = close_by_force(&network, "bob", &points[0]).await?;
    wait_logged(&network, "Force-closing", 1).await?;
    wait_for("Bob's commitment instead of Alice's", LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?;
        ensure!(mempool.contains(&theirs), "the mempool holds {mempool:?}");
        Ok(())
    })
    .await?;
    disk.clear()?;
    wait_logged(&network, WRITABLE_AGAIN, 1).await?;
    // HTLCs of the closed channel are refunded on chain.
    network.mine_until_swept(18, 2 * LIMIT).await?;
    payments.join_all().await;
    network.wait_settled(SETTLE_LIMIT).await?;
    ensure!(
        network.check_balances().await? < total,
        "the channel is still open"
    );
    network.finish();
    Ok(())
}

/// Alice, on a small disk, with two channels to Bob whose channel points are returned.
async fn network_with_a_small_disk() -> Result<(Network, SmallDisk, Vec<String>)> {
    let mut network = Network::start(binaries()).await?;
    let disk = network.prepare("alice")?.network_dir();
    let disk = SmallDisk::mount(&disk, DISK_MIB)?;
    let mut nodes = Vec::new();
    for name in ["alice", "bob"] {
        let mut node = network.prepare(name)?;
        node.set_raw("accept-amp", "true");
        nodes.push(node);
    }
    network.add(nodes).await?;
    let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(CAPACITY_SAT / 2);
    let points = network.open(&[plan, plan]).await?;
    Ok((network, disk, points))
}

/// Sends a small on-chain payment.
async fn send_coins(network: &Network, name: &str) -> Result<(), Status> {
    let internal = |error: anyhow::Error| Status::internal(error.to_string());
    let mut lightning = network[name].api().map_err(internal)?.lightning.clone();
    let request = SendCoinsRequest {
        addr: ADDRESS.into(),
        amount: 10_000,
        sat_per_vbyte: 2,
        ..Default::default()
    };
    lightning.send_coins(request).await.map(|_| ())
}

/// Returns the txid of the closing transaction once it is reported.
async fn close_by_force(network: &Network, name: &str, point: &str) -> Result<String, Status> {
    let request = CloseChannelRequest {
        channel_point: Some(
            parse_point(point).map_err(|error| Status::internal(error.to_string()))?,
        ),
        force: true,
        ..Default::default()
    };
    let api = network[name].api();
    let api = api.map_err(|error| Status::internal(error.to_string()))?;
    let mut updates = api
        .lightning
        .clone()
        .close_channel(request)
        .await?
        .into_inner();
    while let Some(update) = updates.message().await? {
        if let Some(Update::ClosePending(pending)) = update.update {
            let txid = Txid::from_slice(&pending.txid);
            return txid
                .map(|txid| txid.to_string())
                .map_err(|error| Status::internal(error.to_string()));
        }
    }
    Err(Status::aborted("no closing transaction was reported"))
}

type Calls = JoinSet<Result<Payment, Status>>;

/// Fills Alice's disk while payments are in flight in both directions, and waits until she refuses
/// new ones. Returns the calls still in flight.
async fn fill_under_load(network: &Network, disk: &SmallDisk) -> Result<Calls> {
    let failures = logged(network, FAILS)?;
    let mut calls = JoinSet::new();
    let mut full = false;
    let start = Instant::now();
    // SQLite can overwrite free pages, so it takes some load until the full disk is noticed.
    while logged(network, FAILS)? == failures {
        ensure!(
            start.elapsed() < LIMIT,
            "payments still succeed on the full disk"
        );
        while calls.len() < IN_FLIGHT {
            start_payment(network, &mut calls)?;
        }
        let ended = timeout(Duration::from_millis(20), calls.join_next()).await;
        if let Ok(Some(ended)) = ended {
            succeeded(ended?)?;
        }
        // Some payments have completed by then, the others are at any stage.
        if !full {
            disk.fill()?;
            full = true;
        }
    }
    refuses_payments(network).await?;
    // It was retried at least once more without another log line.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(logged(network, FAILS)?, failures + 1);
    Ok(calls)
}

/// Starts a payment in either direction.
fn start_payment(network: &Network, calls: &mut Calls) -> Result<()> {
    let (payer, receiver) = match calls.len() % 2 {
        0 => ("alice", "bob"),
        _ => ("bob", "alice"),
    };
    let api = network[payer].api()?;
    let request = amp_to(network[receiver].key(), AMOUNT_MSAT)?;
    calls.spawn(async move { api.pay(request).await });
    Ok(())
}

/// A payment may also have been refused because commits already fail.
fn succeeded(ended: Result<Payment, Status>) -> Result<()> {
    match ended {
        Err(refusal) if refusal.code() == Code::Unavailable => Ok(()),
        Err(status) => Err(status.into()),
        Ok(payment) => {
            ensure!(
                payment.status() == PaymentStatus::Succeeded,
                "a payment failed: {}",
                payment.failure_reason().as_str_name()
            );
            Ok(())
        }
    }
}

async fn refuses_payments(network: &Network) -> Result<()> {
    let alice = network["alice"].api()?;
    let before = alice.payments(0).await?.payments.len();
    let request = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    let Err(refusal) = alice.pay(request).await else {
        bail!("a payment was started that could not be stored");
    };
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    assert!(
        refusal.message().contains("the database is not writable")
            && refusal.message().contains("full"),
        "{refusal}"
    );
    assert_eq!(alice.payments(0).await?.payments.len(), before);
    let Err(refusal) = alice.invoice(AMOUNT_MSAT).await else {
        bail!("an invoice was created that could not be stored");
    };
    assert_eq!(refusal.downcast::<Status>()?.code(), Code::Unavailable);
    alice.info().await?;
    Ok(())
}

/// While the disk is full: on shutdown the node reports that not everything was written and that this
/// is safe, and it refuses to start with an error.
async fn stops_and_refuses_to_start(network: &mut Network) -> Result<()> {
    let alice = &mut network["alice"];
    let status = alice.stop().await?;
    assert_eq!(status.code(), Some(1));
    let log = fs::read_to_string(alice.log())?;
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("ampd: some changes were not written") && last.contains("full"),
        "{last}"
    );
    let refused = alice.run_to_end().await?;
    assert_eq!(refused.status.code(), Some(1));
    let last = refused.stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("ampd: ") && last.contains("free space"),
        "{last}"
    );
    // The cause is given only once.
    assert_eq!(last.matches("No space left").count(), 1, "{last}");
    Ok(())
}

/// Checks that all payments completed, that both ends agree, and that all payments were received.
async fn check(network: &Network, total_msat: u64) -> Result<()> {
    let mut books = Books::default();
    books.wait_ended(network, LIMIT).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    books.update(network).await?;
    assert_eq!(network.check_balances().await?, total_msat);
    for node in network.nodes() {
        let closed = node.api()?.closed().await?.channels;
        assert!(closed.is_empty(), "{} closed {closed:?}", node.name());
    }
    Ok(())
}

fn logged(network: &Network, text: &str) -> Result<usize> {
    let log = fs::read_to_string(network["alice"].log())?;
    Ok(log.lines().filter(|line| line.contains(text)).count())
}

async fn wait_logged(network: &Network, text: &str, count: usize) -> Result<()> {
    wait_for(&format!("the log to contain {text:?}"), LIMIT, async || {
        let found = logged(network, text)?;
        ensure!(found >= count, "the log contains it {found} times");
        Ok(())
    })
    .await
}
