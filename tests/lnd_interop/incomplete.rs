//! Sets that stay incomplete: the receiver fails their shards back after two minutes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::failure::FailureCode;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{HtlcAttempt, Payment, PaymentFailureReason};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::demo;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{self, Ampd, Lnd};
use regtest::trials;
use tokio::time::timeout;
use tonic::Streaming;

use crate::manual_shards::two_shards;
use crate::scene::{CAPACITY_SAT, Scene, amp, row};
use crate::{SETTLE_LIMIT, binaries};

const SHARD_MSAT: i64 = 30_000_000;
/// How long a receiver holds a shard, and the allowed delay.
const HOLD: Duration = Duration::from_secs(120);
const HOLD_TOLERANCE: Duration = Duration::from_secs(15);
/// Timeout of a payment that must retry once after its first shard has failed.
const TIMEOUT_SECONDS: i32 = 135;
/// Exceeds the capacity of a single route.
const MSAT: i64 = CAPACITY_SAT as i64 * 1_200;
const FORWARDERS: [&str; 2] = ["bob", "lisa"];

pub(crate) fn trials() -> trials::Trials {
    trials![incomplete_sets_fail_back_and_are_retried_until_the_timeout].on_threads(2)
}

/// Runs all cases concurrently, since they consist mostly of minutes of waiting.
async fn incomplete_sets_fail_back_and_are_retried_until_the_timeout() -> Result<()> {
    tokio::try_join!(
        half_a_set_fails_back(Lnd, Ampd),
        half_a_set_fails_back(Ampd, Lnd),
        a_forwarder_freezes(Lnd, Ampd, "bob"),
        a_forwarder_freezes(Ampd, Lnd, "lisa"),
    )?;
    Ok(())
}

/// Fails with `mpp_timeout`, and the invoice stays payable.
async fn half_a_set_fails_back(payer: Software, payee: Software) -> Result<()> {
    let network = row(&[("payer", payer), ("payee", payee)]).await?;
    let scene = Scene::new(&network, "payer", &["payee"]);
    let invoice = scene.amp_invoice(2 * SHARD_MSAT).await?;
    let set = two_shards(&invoice, SHARD_MSAT)?;
    let first = set.request(0, scene.known_route(SHARD_MSAT).await?)?;
    let before = network.check_balances().await?;
    let start = Instant::now();
    let attempt = scene.payer()?.send_to_route(first).await?;
    let held = start.elapsed();
    ensure!(
        held >= HOLD && held < HOLD + HOLD_TOLERANCE,
        "held for {held:?}"
    );
    ensure!(timed_out(&attempt), "{attempt:?}");
    let failure = attempt.failure.context("no failure")?;
    assert_eq!(failure.failure_source_index, 1);
    network.wait_settled(SETTLE_LIMIT).await?;
    assert_eq!(network.check_balances().await?, before);

    let found = scene.lookup(&invoice).await?;
    assert_eq!(
        (found.state(), found.amt_paid_msat),
        (InvoiceState::Open, 0)
    );
    let payment = scene.pays(&amp(&invoice, 0)).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    network.finish();
    Ok(())
}

fn timed_out(attempt: &HtlcAttempt) -> bool {
    let failure = attempt.failure.as_ref();
    failure.is_some_and(|failure| failure.code() == FailureCode::MppTimeout)
}

/// A payment needs both routes. HTLCs held by the frozen forwarder fail when it resumes.
async fn a_forwarder_freezes(payer: Software, payee: Software, frozen: &str) -> Result<()> {
    let network = two_routes(payer, payee).await?;
    let hops = [FORWARDERS[0], "payee"];
    let scene = Scene::new(&network, "payer", &hops);
    let before = (
        scene.payer()?.local_msat().await?,
        scene.payee()?.local_msat().await?,
    );
    let invoice = scene.amp_invoice(MSAT).await?;

    network[frozen].freeze()?;
    let mut updates = start(scene, &amp(&invoice, 0)).await?;
    let in_vain = until(&mut updates, tried_twice).await?;
    only_the_frozen_route_is_left(&in_vain, network[frozen].key())?;

    network[frozen].thaw()?;
    for peer in ["payer", "payee"] {
        network.connect(peer, frozen).await?;
    }
    let failed = until(&mut updates, is_over).await?;
    assert_eq!(failed.status(), PaymentStatus::Failed);
    let why = PaymentFailureReason::FailureReasonTimeout;
    assert_eq!(failed.failure_reason(), why);
    network.wait_settled(SETTLE_LIMIT).await?;
    let after = (
        scene.payer()?.local_msat().await?,
        scene.payee()?.local_msat().await?,
    );
    assert_eq!(after, before);
    network.check_balances().await?;

    assert_eq!(scene.lookup(&invoice).await?.state(), InvoiceState::Open);
    let payment = scene.pays(&amp(&invoice, 0)).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    network.finish();
    Ok(())
}

async fn two_routes(payer: Software, payee: Software) -> Result<Network> {
    let nodes = [
        ("payer", payer),
        ("bob", Ampd),
        ("lisa", Lnd),
        ("payee", payee),
    ];
    let network = Network::mixed(binaries(), &nodes).await?;
    let mut plans = Vec::new();
    for forwarder in FORWARDERS {
        plans.push(ChannelPlan::new("payer", forwarder, CAPACITY_SAT));
        plans.push(ChannelPlan::new(forwarder, "payee", CAPACITY_SAT));
    }
    network.open(&plans).await?;
    for forwarder in FORWARDERS {
        let hops = [forwarder, "payee"];
        Scene::new(&network, "payer", &hops)
            .known_route(SHARD_MSAT)
            .await?;
    }
    Ok(network)
}

async fn start(scene: Scene<'_>, request: &SendPaymentRequest) -> Result<Streaming<Payment>> {
    let request = SendPaymentRequest {
        timeout_seconds: TIMEOUT_SECONDS,
        ..request.clone()
    };
    let updates = scene.payer()?.router.send_payment_v2(request).await?;
    Ok(updates.into_inner())
}

/// The first update that satisfies the condition; each must arrive within the hold time of a shard.
async fn until(
    updates: &mut Streaming<Payment>,
    holds: impl Fn(&Payment) -> bool,
) -> Result<Payment> {
    loop {
        let update = timeout(HOLD + HOLD_TOLERANCE, updates.message()).await;
        let update = update.context("timed out waiting for an update")??;
        let payment = update.context("the stream has ended")?;
        if holds(&payment) {
            return Ok(payment);
        }
        ensure!(
            !is_over(&payment),
            "the payment has already completed: {payment:?}"
        );
    }
}

fn is_over(payment: &Payment) -> bool {
    payment.status() != PaymentStatus::InFlight
}

/// Whether a shard failed early enough for another attempt, which failed as well.
fn tried_twice(payment: &Payment) -> bool {
    let attempts = payment.htlcs.iter();
    attempts.filter(|attempt| timed_out(attempt)).count() == 2
}

fn only_the_frozen_route_is_left(payment: &Payment, frozen: &str) -> Result<()> {
    let attempts = payment.htlcs.iter();
    let left = attempts.filter(|attempt| attempt.status() == HtlcStatus::InFlight);
    let mut count = 0;
    for attempt in left {
        let route = attempt.route.as_ref().context("no route")?;
        assert_eq!(route.hops[0].pub_key, frozen, "{attempt:?}");
        count += 1;
    }
    assert_eq!(count, 1, "{payment:?}");
    Ok(())
}
