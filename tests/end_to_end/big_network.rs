//! Seven nodes and five routes, two of them with little liquidity: amounts that no single route can
//! carry arrive in full, or not at all, even when a forwarding node dies during the payment.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::amp_to;
use regtest::crash::reconcile::Books;
use regtest::demo;
use regtest::network::{ChannelPlan, Network};

use crate::binaries;

const RICH: [&str; 3] = ["carol", "dave", "eve"];
const POOR: [&str; 2] = ["frank", "grace"];
/// Outbound liquidity of the rich nodes towards Bob.
const RICH_SAT: u64 = 600_000;
/// The other channels are larger, but Grace has little outbound liquidity to Bob and Frank none: the
/// amounts that they fail to forward are too large for any single other route.
const LARGE_SAT: u64 = 2_000_000;
const GRACE_SAT: u64 = 200_000;
/// Exceeds what two of the rich routes can carry together; all three can.
const AMOUNT_MSAT: u64 = 1_400_000_000;
/// The channel reserve of one percent (BOLT 2), plus fees.
const RESERVE_SAT: u64 = RICH_SAT / 100 + 10_000;
/// High enough that the poor nodes are tried first.
const RICH_BASE_FEE_MSAT: u64 = 500_000;
const SHARDS: u64 = 20;
const MAX_PARTS: u32 = 32;
const LIMIT: Duration = Duration::from_secs(60);
/// The receiver holds shards of an incomplete set for two minutes.
const END_LIMIT: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_amp_payment_splits_into_many_shards_across_five_routes() -> Result<()> {
    let (mut network, total_msat) = five_routes().await?;
    let mut books = Books::default();

    let split_freely = in_shards(&network, AMOUNT_MSAT, 0)?;
    let paid = pays_exactly(&network, &split_freely).await?;
    was_split_again(&paid)?;
    refill(&network).await?;

    let most_msat = AMOUNT_MSAT / SHARDS;
    let in_many = in_shards(&network, AMOUNT_MSAT, most_msat)?;
    let paid = pays_exactly(&network, &in_many).await?;
    ensure!(attempts(&paid, HtlcStatus::Failed) > 0, "no shard failed");
    let arrived = attempts(&paid, HtlcStatus::Succeeded);
    ensure!(arrived >= usize::try_from(SHARDS)?, "only {arrived} shards");
    refill(&network).await?;
    books.update(&network).await?;

    survives_the_crash_of_a_forwarder(&mut network, &in_many).await?;
    network.wait_usable().await?;
    books.wait_ended(&network, END_LIMIT).await?;
    network.wait_settled(LIMIT).await?;
    books.update(&network).await?;
    ensure!(
        network.check_balances().await? == total_msat,
        "the sum of all balances has changed"
    );
    network.finish();
    Ok(())
}

/// The network and the sum of all its channel balances (msat).
async fn five_routes() -> Result<(Network, u64)> {
    let mut network = Network::start(binaries()).await?;
    let mut nodes = Vec::new();
    for name in [["alice", "bob"].as_slice(), &RICH, &POOR].concat() {
        let mut node = network.prepare(name)?;
        node.set_raw("accept-amp", "true");
        if RICH.contains(&name) {
            node.set_raw("base-fee-msat", &RICH_BASE_FEE_MSAT.to_string());
        }
        nodes.push(node);
    }
    network.add(nodes).await?;
    let first = |name| ChannelPlan::new("alice", name, LARGE_SAT);
    let mut plans: Vec<_> = RICH.into_iter().chain(POOR).map(first).collect();
    plans.extend(RICH.map(|name| ChannelPlan::new(name, "bob", RICH_SAT)));
    plans.push(ChannelPlan::new("bob", "frank", LARGE_SAT));
    plans.push(ChannelPlan::new("bob", "grace", LARGE_SAT).push(GRACE_SAT));
    network.open(&plans).await?;
    let total_msat = network.check_balances().await?;
    Ok((network, total_msat))
}

/// A request to pay Bob; a maximum shard size of zero means no limit.
fn in_shards(network: &Network, msat: u64, most_msat: u64) -> Result<SendPaymentRequest> {
    Ok(SendPaymentRequest {
        max_parts: MAX_PARTS,
        max_shard_size_msat: most_msat,
        timeout_seconds: 120,
        ..amp_to(network["bob"].key(), msat)?
    })
}

/// Lets Alice pay and checks the balances of Alice, Bob and the forwarding nodes to the msat.
async fn pays_exactly(network: &Network, request: &SendPaymentRequest) -> Result<Payment> {
    let (alice, bob) = (network["alice"].api()?, network["bob"].api()?);
    let before = (alice.local_msat().await?, bob.local_msat().await?);
    let payment = network.pay("alice", request).await?;
    network.wait_settled(LIMIT).await?;
    demo::prove(&payment, &bob).await?;
    let fee_msat = u64::try_from(payment.fee_msat)?;
    assert_eq!(bob.local_msat().await?, before.1 + AMOUNT_MSAT);
    assert_eq!(alice.local_msat().await?, before.0 - AMOUNT_MSAT - fee_msat);
    network.check_balances().await?;
    Ok(payment)
}

fn attempts(payment: &Payment, status: HtlcStatus) -> usize {
    let attempts = payment.htlcs.iter();
    attempts.filter(|htlc| htlc.status() == status).count()
}

/// The largest attempt with this status, in msat.
fn largest(payment: &Payment, status: HtlcStatus) -> Option<i64> {
    let attempts = payment.htlcs.iter();
    let of_status = attempts.filter(|htlc| htlc.status() == status);
    let last = of_status.filter_map(|htlc| htlc.route.as_ref()?.hops.last());
    last.map(|hop| hop.amt_to_forward_msat).max()
}

/// Checks that failed amounts were retried in smaller parts.
fn was_split_again(payment: &Payment) -> Result<()> {
    let failed = largest(payment, HtlcStatus::Failed).context("no shard failed")?;
    let arrived = largest(payment, HtlcStatus::Succeeded).context("no shard arrived")?;
    ensure!(
        failed > arrived,
        "{failed} msat failed, but a single shard of {arrived} msat succeeded"
    );
    Ok(())
}

/// Bob returns most of the amount through the rich nodes, so that they can forward as much again.
async fn refill(network: &Network) -> Result<()> {
    for channel in network["bob"].api()?.channels().await? {
        let spare_sat = u64::try_from(channel.local_balance)?.saturating_sub(RESERVE_SAT);
        let is_rich = |name: &&str| network[*name].key() == channel.remote_pubkey;
        if spare_sat > 0 && RICH.iter().any(is_rich) {
            let request = amp_to(&channel.remote_pubkey, spare_sat * 1_000)?;
            network.pay("bob", &request).await?;
        }
    }
    network.wait_settled(LIMIT).await
}

/// Kills Carol while shards are in flight and restarts her; without her route the payment cannot succeed.
async fn survives_the_crash_of_a_forwarder(
    network: &mut Network,
    request: &SendPaymentRequest,
) -> Result<()> {
    let alice = network["alice"].api()?;
    let carol = network["carol"].key().to_owned();
    let mut updates = alice
        .router
        .clone()
        .send_payment_v2(request.clone())
        .await?
        .into_inner();
    while let Some(payment) = updates.message().await? {
        ensure!(
            payment.status() == PaymentStatus::InFlight,
            "the payment completed too early: {payment:?}"
        );
        if is_under_way_over(&payment, &carol) {
            break;
        }
    }
    network.kill(&["carol"])?;
    let payments = alice.payments(0).await?.payments;
    let newest = payments.last().context("alice does not list the payment")?;
    ensure!(
        newest.status() == PaymentStatus::InFlight,
        "Carol was killed too late"
    );
    let bob_msat = network["bob"].api()?.local_msat().await?;
    network.restart(&["carol"]).await?;
    let mut last = None;
    while let Some(payment) = updates.message().await? {
        last = Some(payment);
    }
    let last = last.context("the payment has no final update")?;
    network.wait_usable().await?;
    network.wait_settled(END_LIMIT).await?;
    let gained_msat = network["bob"].api()?.local_msat().await? - bob_msat;
    match last.status() {
        PaymentStatus::Succeeded => assert_eq!(gained_msat, AMOUNT_MSAT),
        PaymentStatus::Failed => assert_eq!(gained_msat, 0),
        other => anyhow::bail!("the final status is {other:?}"),
    }
    Ok(())
}

fn is_under_way_over(payment: &Payment, key: &str) -> bool {
    let mut under_way = payment
        .htlcs
        .iter()
        .filter(|htlc| htlc.status() == HtlcStatus::InFlight);
    under_way.any(|htlc| {
        let first = htlc.route.as_ref().and_then(|route| route.hops.first());
        first.is_some_and(|hop| hop.pub_key == key)
    })
}
