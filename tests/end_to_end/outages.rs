//! A receiver restarts during a payment: forwarding nodes are temporarily disconnected from it and
//! fail HTLCs with temporary_channel_failure.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::{SendPaymentRequest, TrackPaymentRequest};
use regtest::api::{amp_to, bytes};
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use tokio::time::timeout;

use crate::{SETTLE_LIMIT, binaries};

const CAPACITY_SAT: u64 = 1_000_000;
/// Exceeds the capacity of either of Alice's channels.
const AMP_MSAT: u64 = 1_200_000_000;
const SHARD_MSAT: u64 = AMP_MSAT / 6;
const SMALL_MSAT: u64 = 100_000_000;
const PROBE_MSAT: u64 = 2_000_000;
/// Payment timeout in seconds.
const PAYMENT_TIMEOUT_SECS: i32 = 110;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payment_succeeds_once_its_receiver_is_back() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob", "carol"]).await?;
    let plans = [
        ChannelPlan::new("alice", "carol", CAPACITY_SAT),
        ChannelPlan::new("carol", "bob", CAPACITY_SAT),
    ];
    network.open(&plans).await?;
    let to_bob = |msat| amp_to(network["bob"].key(), msat);
    network.pay("alice", &to_bob(PROBE_MSAT)?).await?;
    let request = SendPaymentRequest {
        timeout_seconds: PAYMENT_TIMEOUT_SECS,
        ..to_bob(SMALL_MSAT)?
    };
    network.kill(&["bob"])?;
    let payment = start(&network, request).await?;
    wait_for("failures", LIMIT, async || {
        let failed = count(&find(&network, &payment).await?, HtlcStatus::Failed);
        ensure!(failed >= 2, "{failed} attempts have failed");
        Ok(())
    })
    .await?;
    network.restart(&["bob"]).await?;
    succeeds(&network, &payment).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    network.finish();
    Ok(())
}

/// Bob holds the shards from Carol and crashes. Shards through Dave fail until Bob is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_is_completed_after_a_restart_of_the_receiver() -> Result<()> {
    let names = ["alice", "bob", "carol", "dave"];
    let mut network = Network::with_nodes(binaries(), &names).await?;
    let plans = [
        ChannelPlan::new("alice", "carol", CAPACITY_SAT),
        ChannelPlan::new("alice", "dave", CAPACITY_SAT),
        ChannelPlan::new("carol", "bob", CAPACITY_SAT),
        ChannelPlan::new("dave", "bob", CAPACITY_SAT),
    ];
    network.open(&plans).await?;
    for forwarder in ["carol", "dave"] {
        let request = SendPaymentRequest {
            last_hop_pubkey: bytes(network[forwarder].key())?,
            ..amp_to(network["bob"].key(), PROBE_MSAT)?
        };
        network.pay("alice", &request).await?;
    }
    network.wait_settled(SETTLE_LIMIT).await?;
    network.kill(&["dave"])?;
    let request = SendPaymentRequest {
        timeout_seconds: PAYMENT_TIMEOUT_SECS,
        max_shard_size_msat: SHARD_MSAT,
        ..amp_to(network["bob"].key(), AMP_MSAT)?
    };
    let payment = start(&network, request).await?;
    let set_id = bytes(&payment)?;
    wait_for("an incomplete set", LIMIT, async || {
        let invoices = network["bob"].api()?.invoices(0).await?.invoices;
        let htlcs = invoices.iter().flat_map(|invoice| &invoice.htlcs);
        let mut amps = htlcs.filter_map(|htlc| htlc.amp.as_ref());
        ensure!(amps.any(|amp| amp.set_id == set_id), "Bob holds no shard");
        Ok(())
    })
    .await?;
    network.kill(&["bob"])?;
    let failed = count(&find(&network, &payment).await?, HtlcStatus::Failed);
    network.restart(&["dave"]).await?;
    wait_for("failures at Dave", LIMIT, async || {
        let now = count(&find(&network, &payment).await?, HtlcStatus::Failed);
        ensure!(now >= failed + 2, "{now} attempts have failed");
        Ok(())
    })
    .await?;
    network.restart(&["bob"]).await?;
    succeeds(&network, &payment).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    network.finish();
    Ok(())
}

/// Starts a payment by Alice and returns its set id.
async fn start(network: &Network, request: SendPaymentRequest) -> Result<String> {
    let mut router = network["alice"].api()?.router;
    let mut updates = router.send_payment_v2(request).await?.into_inner();
    let first = timeout(LIMIT, updates.message()).await??;
    Ok(first.context("the stream has no update")?.payment_hash)
}

async fn find(network: &Network, payment_hash: &str) -> Result<Payment> {
    let payments = network["alice"].api()?.payments(0).await?.payments;
    let mut payments = payments.into_iter();
    let found = payments.find(|payment| payment.payment_hash == payment_hash);
    found.with_context(|| format!("alice does not know {payment_hash}"))
}

fn count(payment: &Payment, status: HtlcStatus) -> usize {
    let attempts = payment.htlcs.iter();
    attempts.filter(|htlc| htlc.status() == status).count()
}

async fn succeeds(network: &Network, payment_hash: &str) -> Result<()> {
    let request = TrackPaymentRequest {
        payment_hash: bytes(payment_hash)?,
        no_inflight_updates: true,
    };
    let mut router = network["alice"].api()?.router;
    let mut updates = router.track_payment_v2(request).await?.into_inner();
    let end = timeout(LIMIT, updates.message()).await;
    let end = end
        .context("timed out waiting for the final status")??
        .context("the stream has ended")?;
    if end.status() != PaymentStatus::Succeeded {
        let failed = count(&end, HtlcStatus::Failed);
        bail!("{:?} after {failed} attempts", end.failure_reason());
    }
    Ok(())
}
