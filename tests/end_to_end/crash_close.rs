//! A receiver that decided to settle a set, died, and whose peers close its channels meanwhile: it
//! claims all HTLCs of the set on the chain.

use std::time::Duration;

use crash_points::Point;
use lnd_api::proto::lnrpc::CloseChannelRequest;
use anyhow::{Context, Result, ensure};
use regtest::api::amp_to;
use regtest::crash::books::Books;
use regtest::crash::interrupted::Interrupted;
use regtest::network::channels::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;

use crate::binaries;

const CAPACITY_SAT: u64 = 2_000_000;
/// More than either of Bob's channels carries.
const AMOUNT_MSAT: u64 = 3_000_000_000;
const LIMIT: Duration = Duration::from_secs(60);
/// Transactions of channels that were closed by force, at regtest's fee rates.
const MOST_FEES_SAT: u64 = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_was_decided_is_claimed_whole_on_the_chain() -> Result<()> {
    closed_while_down(Point::DecisionStored).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_was_claimed_in_part_is_claimed_whole_on_the_chain() -> Result<()> {
    closed_while_down(Point::BetweenClaims).await
}

/// Alice pays Bob directly and over Carol. While he is down both of them close their channels with
/// him.
async fn closed_while_down(point: Point) -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob", "carol"]).await?;
    let plans = [("alice", "bob"), ("alice", "carol"), ("carol", "bob")]
        .map(|(from, to)| ChannelPlan::new(from, to, CAPACITY_SAT));
    let points = network.open(&plans).await?;
    wait_for_both_ways(&network).await?;
    let before = all_of_bobs_sat(&network).await?;

    let request = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    let payments = vec![("alice", request)];
    let interrupted = Interrupted::start(&mut network, &["bob"], (point, 1), payments).await?;
    close(&network, "alice", &points[0]).await?;
    close(&network, "carol", &points[2]).await?;
    network.mine(1).await?;
    network.restart(&["bob"]).await?;
    network.mine_until_swept(18, LIMIT).await?;

    let paid = interrupted.succeed().await?;
    ensure!(paid[0].htlcs.len() >= 2, "one way was enough: {paid:?}");
    let mut books = Books::default();
    books.wait_ended(&network, LIMIT).await?;
    books.update(&network).await?;
    let gained = all_of_bobs_sat(&network).await? - before;
    let amount_sat = AMOUNT_MSAT / 1_000;
    ensure!(
        (amount_sat - MOST_FEES_SAT..=amount_sat).contains(&gained),
        "{gained} sat came into Bob's wallet"
    );
    network.finish();
    Ok(())
}

/// Alice must know of the channel between Carol and Bob: as soon as she can pay more than her own
/// channel with him carries. Bob gives most of it back.
async fn wait_for_both_ways(network: &Network) -> Result<()> {
    let there = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    network.pay("alice", &there).await?;
    // Bob can spend what came once its HTLCs have left the channels.
    network.wait_settled(LIMIT).await?;
    let back = amp_to(network["alice"].key(), AMOUNT_MSAT * 98 / 100)?;
    network.pay("bob", &back).await?;
    network.wait_settled(LIMIT).await
}

async fn close(network: &Network, name: &str, point: &str) -> Result<()> {
    let request = CloseChannelRequest {
        channel_point: Some(parse_point(point)?),
        force: true,
        ..Default::default()
    };
    let before = network.bitcoind.mempool().await?.len();
    let mut lightning = network[name].api()?.lightning;
    let mut updates = lightning.close_channel(request).await?.into_inner();
    let update = updates.message().await?;
    update.context("the node says nothing about the closing")?;
    wait_for("the closing transaction", LIMIT, async || {
        let now = network.bitcoind.mempool().await?.len();
        ensure!(now > before, "the mempool holds {now} transactions");
        Ok(())
    })
    .await
}

async fn all_of_bobs_sat(network: &Network) -> Result<u64> {
    let bob = network["bob"].api()?;
    let on_chain = u64::try_from(bob.wallet().await?.confirmed_balance)?;
    Ok(on_chain + bob.local_msat().await? / 1_000)
}
