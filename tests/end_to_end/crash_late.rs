//! A receiver crashes after deciding to settle a set and restarts just before or after the claim
//! deadline: it must claim before the channel manager processes the new blocks.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crash_points::Point;
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::amp_to;
use regtest::crash::interrupted::Interrupted;
use regtest::crash::reconcile::Books;
use regtest::network::{ChannelPlan, Network};

use crate::{SETTLE_LIMIT, binaries};

const CAPACITY_SAT: u64 = 4_000_000;
const AMOUNT_MSAT: u64 = 1_000_000_000;
const SHARDS: u64 = 4;
/// LDK fails an HTLC back this many blocks before it expires.
const FAIL_BACK_BUFFER: u32 = 39;
/// The smallest that LDK accepts, so that few blocks have to be mined.
const FINAL_CLTV_DELTA: u32 = 42;
const LIMIT: Duration = Duration::from_secs(60);

/// The height at which the receiver restarts.
#[derive(Clone, Copy, Debug)]
enum Back {
    /// One block before the earliest claim deadline.
    JustInTime,
    /// One block after the latest one. Three blocks later LDK would claim on chain.
    TooLate,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_near_the_claim_deadline_claims_all_of_a_set_or_none() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(CAPACITY_SAT / 2);
    network.open(&[plan, plan]).await?;
    let total = network.check_balances().await?;
    for point in [Point::DecisionStored, Point::BetweenClaims] {
        for back in [Back::JustInTime, Back::TooLate] {
            restart_at(&mut network, point, back, total)
                .await
                .with_context(|| format!("crash at {point}, restart {back:?}"))?;
        }
    }
    network.finish();
    Ok(())
}

async fn restart_at(network: &mut Network, point: Point, back: Back, total: u64) -> Result<()> {
    let bob = network["bob"].key().to_owned();
    let request = SendPaymentRequest {
        final_cltv_delta: FINAL_CLTV_DELTA.try_into()?,
        max_shard_size_msat: AMOUNT_MSAT / SHARDS + 1,
        // Leaves no room for the blocks that LDK adds for privacy.
        cltv_limit: FINAL_CLTV_DELTA.try_into().map(|delta: i32| delta + 4)?,
        ..amp_to(&bob, AMOUNT_MSAT)?
    };
    let payments = vec![("alice", request)];
    let interrupted = Interrupted::start(network, &["bob"], (point, 1), payments).await?;
    let deadlines = claim_deadlines(network).await?;
    let goal = match back {
        Back::JustInTime => deadlines.iter().min().map(|height| height - 1),
        Back::TooLate => deadlines.iter().max().map(|height| height + 1),
    };
    let goal = goal.context("no HTLC is in flight")?;
    let height = network.bitcoind.height().await?;
    ensure!(height < goal, "height {height} is past the goal {goal}");
    network.mine(goal - height).await?;
    network.restart(&["bob"]).await?;

    let paid = interrupted.succeed().await?;
    check(network, &paid, total).await?;
    // Everything is paid back for the next case.
    let back = amp_to(network["alice"].key(), AMOUNT_MSAT)?;
    network.pay("bob", &back).await?;
    network.wait_settled(SETTLE_LIMIT).await
}

/// The claim deadlines of the HTLCs to Bob, from Alice's view.
async fn claim_deadlines(network: &Network) -> Result<Vec<u32>> {
    let channels = network["alice"].api()?.channels().await?;
    let htlcs = channels.iter().flat_map(|channel| &channel.pending_htlcs);
    let deadlines = htlcs.map(|htlc| htlc.expiration_height - FAIL_BACK_BUFFER);
    Ok(deadlines.collect())
}

async fn check(network: &Network, paid: &[Payment], total: u64) -> Result<()> {
    let shards: usize = paid.iter().map(|payment| payment.htlcs.len()).sum();
    ensure!(shards >= usize::try_from(SHARDS)?, "only {shards} shards");
    network.wait_usable().await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    let mut books = Books::default();
    books.wait_ended(network, LIMIT).await?;
    books.update(network).await?;
    ensure!(
        network.check_balances().await? == total,
        "the sum of all balances has changed"
    );
    for node in network.nodes() {
        let closed = node.api()?.closed().await?.channels;
        ensure!(closed.is_empty(), "{} closed {closed:?}", node.name());
    }
    Ok(())
}
