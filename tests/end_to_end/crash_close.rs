//! A receiver crashes after deciding to settle a set, and its peers close its channels while it is
//! down: it claims all HTLCs of the set on chain.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crash_points::Point;
use lnd_api::proto::lnrpc::CloseChannelRequest;
use regtest::api::amp_to;
use regtest::channel_point::parse_point;
use regtest::crash::interrupted::Interrupted;
use regtest::crash::reconcile::Books;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;

use crate::binaries;

const CAPACITY_SAT: u64 = 2_000_000;
/// Exceeds the capacity of either of Bob's channels.
const AMOUNT_MSAT: u64 = 3_000_000_000;
const LIMIT: Duration = Duration::from_secs(60);
/// Maximum fees of the transactions of force-closed channels, at regtest's fee rates.
const MAX_FEES_SAT: u64 = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_decided_before_a_crash_is_claimed_in_full_on_chain() -> Result<()> {
    closed_while_down(Point::DecisionStored).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partly_claimed_set_is_claimed_in_full_on_chain() -> Result<()> {
    closed_while_down(Point::BetweenClaims).await
}

/// Alice pays Bob directly and through Carol. While Bob is down, both close their channels with him.
async fn closed_while_down(point: Point) -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob", "carol"]).await?;
    let plans = [("alice", "bob"), ("alice", "carol"), ("carol", "bob")]
        .map(|(from, to)| ChannelPlan::new(from, to, CAPACITY_SAT));
    let points = network.open(&plans).await?;
    wait_for_both_routes(&network).await?;
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
    ensure!(
        paid[0].htlcs.len() >= 2,
        "a single HTLC was enough: {paid:?}"
    );
    let mut books = Books::default();
    books.wait_ended(&network, LIMIT).await?;
    books.update(&network).await?;
    let gained = all_of_bobs_sat(&network).await? - before;
    let amount_sat = AMOUNT_MSAT / 1_000;
    ensure!(
        (amount_sat - MAX_FEES_SAT..=amount_sat).contains(&gained),
        "Bob's wallet gained {gained} sat"
    );
    network.finish();
    Ok(())
}

/// Waits until Alice knows the channel between Carol and Bob: she can then pay more than the capacity
/// of her own channel with him. Bob pays most of it back.
async fn wait_for_both_routes(network: &Network) -> Result<()> {
    let there = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    network.pay("alice", &there).await?;
    // Bob can spend the amount once its HTLCs are removed from the channels.
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
    update.context("the node sent no update for the close")?;
    wait_for("the closing transaction", LIMIT, async || {
        let now = network.bitcoind.mempool().await?.len();
        ensure!(now > before, "the mempool still holds {now} transactions");
        Ok(())
    })
    .await
}

async fn all_of_bobs_sat(network: &Network) -> Result<u64> {
    let bob = network["bob"].api()?;
    let on_chain = u64::try_from(bob.wallet().await?.confirmed_balance)?;
    Ok(on_chain + bob.local_msat().await? / 1_000)
}
