//! The log: a slow or absent reader costs nothing but log lines, and normal operation logs no errors.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use regtest::api::{amp_to, bolt11};
use regtest::network::{ChannelPlan, Network};
use regtest::raw_peer::{ChannelTerms, Identity, OpenResult, RawPeer, Target, kind, message};
use rustix::process::{Signal, kill_process};

use crate::close::close;
use crate::terminal::{ended, pid, started};
use crate::{SETTLE_LIMIT, binaries};

const DEFAULT_LEVEL: &str = "info,ldk=warn";
const IDENTITIES: u32 = 5;
/// Number of invalid messages of each kind sent by each identity.
const MESSAGES: u32 = 10_000;
/// Maximum growth of the log in bytes during the few seconds of this test.
const MAX_LOG_GROWTH: u64 = 200_000;
const DROPPED: &str = "lines were dropped";
const PAYMENTS: u32 = 60;
const AMOUNT_MSAT: u64 = 100_000;
/// If the log never blocks, all payments take a few seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// Number of bytes that a slow reader reads before each pause.
const READ_SIZE: usize = 1_000;
const READ_PAUSE: Duration = Duration::from_millis(50);

#[tokio::test]
async fn payments_continue_while_the_log_is_not_read() -> Result<()> {
    let (network, mut alice) = talkative_alice().await?;
    pay_alice(&network).await?;
    let log = alice.stderr.take().context("no stderr")?;
    let mut lines = BufReader::new(log).lines();
    let dropped = lines.find_map(|line| line.ok().filter(|line| line.contains(DROPPED)));
    ensure!(dropped.is_some(), "the log does not mention dropped lines");
    // What was queued before that line has been read, so the lines of the shutdown fit into the queue.
    let reader = std::thread::spawn(move || lines.collect::<Result<Vec<_>, _>>());
    stops(&mut alice).await?;
    let lines = reader.join().expect("the reader does not panic")?;
    let last = "the node is shutting down";
    ensure!(
        lines.iter().any(|line| line.contains(last)),
        "the log is incomplete"
    );
    network.finish();
    Ok(())
}

#[tokio::test]
async fn payments_continue_while_the_log_is_read_slowly() -> Result<()> {
    let (network, mut alice) = talkative_alice().await?;
    let mut log = alice.stderr.take().context("no stderr")?;
    let reader = std::thread::spawn(move || {
        let mut bytes = 0;
        let mut sip = [0; READ_SIZE];
        while let Ok(read @ 1..) = log.read(&mut sip) {
            bytes += read;
            std::thread::sleep(READ_PAUSE);
        }
        bytes
    });
    pay_alice(&network).await?;
    stops(&mut alice).await?;
    let read = reader.join().expect("the reader does not panic");
    ensure!(read > 0, "the log is empty");
    network.finish();
    Ok(())
}

/// Alice, who logs everything to a pipe and has a channel with Bob.
async fn talkative_alice() -> Result<(Network, Child)> {
    let mut network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    alice.set_raw("accept-amp", "true");
    let bob = network.prepare("bob")?;
    network.add(vec![alice, bob]).await?;
    let plan = ChannelPlan::new("bob", "alice", 1_000_000);
    network.open(&[plan]).await?;
    network["alice"].stop().await?;
    network["alice"].set("log-level", "trace");
    let child = started(&network["alice"], Stdio::null(), Stdio::piped()).await?;
    network.wait_usable().await?;
    Ok((network, child))
}

async fn pay_alice(network: &Network) -> Result<()> {
    let start = Instant::now();
    let bob = network["bob"].api()?;
    for _ in 0..PAYMENTS {
        let payment = bob.pay(amp_to(network["alice"].key(), AMOUNT_MSAT)?);
        let payment = tokio::time::timeout(LIMIT, payment)
            .await
            .context("the payment timed out")??;
        ensure!(payment.status() == PaymentStatus::Succeeded, "{payment:?}");
    }
    ensure!(
        start.elapsed() < LIMIT,
        "payments took {:?}",
        start.elapsed()
    );
    Ok(())
}

async fn stops(node: &mut Child) -> Result<()> {
    kill_process(pid(node.id())?, Signal::TERM)?;
    let status = ended(node).await?;
    ensure!(status.success(), "exited with {status}");
    Ok(())
}

/// Without rate limits, these messages created 20 MB of log.
#[tokio::test]
async fn unknown_peers_cannot_fill_the_log() -> Result<()> {
    let mut network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    alice.set("log-level", DEFAULT_LEVEL);
    network.add(vec![alice]).await?;
    let target = Target::of(&network["alice"])?.from(Ipv4Addr::new(127, 0, 0, 66));
    let before = fs::metadata(network["alice"].log())?.len();
    let storage = message(kind::PEER_STORAGE, &[&[0, 10][..], &[0; 10]].concat());
    let fee = message(kind::UPDATE_FEE, &[7; 36]);
    for _ in 0..IDENTITIES {
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        for wrong in [&storage, &fee] {
            let messages = (0..MESSAGES).map(|_| wrong.clone());
            peer.flood(messages).await?;
        }
        // Everything sent before has been handled by then.
        peer.ping().await?;
        if let OpenResult::Signed(channel) =
            peer.open_unfunded_channel(&ChannelTerms::default()).await?
        {
            peer.send_error(channel, &"x".repeat(60_000)).await?;
        }
        peer.ping().await?;
    }
    network["alice"].stop().await?;
    let log = fs::read_to_string(network["alice"].log())?;
    let written = log.len() as u64 - before;
    ensure!(written < MAX_LOG_GROWTH, "the log grew by {written} bytes");
    ensure!(
        log.contains("more lines"),
        "the log does not mention suppressed lines"
    );
    network.finish();
    Ok(())
}

/// Opens, announces, uses and closes channels with restarts, which requires no action by the operator.
#[tokio::test]
async fn normal_operation_logs_no_errors() -> Result<()> {
    let mut network = Network::start(binaries()).await?;
    let mut nodes = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let mut node = network.prepare(name)?;
        node.set("log-level", DEFAULT_LEVEL);
        nodes.push(node);
    }
    network.add(nodes).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000).push(400_000);
    let points = network
        .open(&[plan, plan, ChannelPlan::new("bob", "carol", 1_000_000)])
        .await?;
    network.mine(6).await?;
    pay(&network, "alice", "bob").await?;
    for name in ["alice", "bob"] {
        network[name].stop().await?;
        network.restart(&[name]).await?;
        network.wait_usable().await?;
    }
    pay(&network, "alice", "carol").await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    close(&network, "alice", &points[0], false).await?;
    network.mine(6).await?;
    close(&network, "alice", &points[1], true).await?;
    network.mine_until_swept(6, LIMIT).await?;
    for name in ["alice", "bob", "carol"] {
        network[name].stop().await?;
        let log = fs::read_to_string(network[name].log())?;
        let faults: Vec<_> = log
            .lines()
            .filter(|line| line.contains("ERROR") || line.contains("WARN"))
            .filter(|line| !EXPECTED.iter().any(|known| line.contains(known)))
            .collect();
        ensure!(faults.is_empty(), "{name}: {}", faults.join("\n"));
    }
    network.finish();
    Ok(())
}

/// Legitimate warnings on this chain or with these small funds.
const EXPECTED: [&str; 2] = ["no fee estimates yet", "the wallet cannot pay for"];

async fn pay(network: &Network, payer: &str, payee: &str) -> Result<()> {
    let invoice = network[payee].api()?.invoice(AMOUNT_MSAT).await?;
    let request = bolt11(&invoice.payment_request);
    let paid = network.pay_routed(payer, &request).await?;
    ensure!(paid.status() == PaymentStatus::Succeeded, "{paid:?}");
    Ok(())
}
