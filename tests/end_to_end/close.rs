//! Closes channels and checks that their balances reach the on-chain wallets.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::CloseChannelRequest;
use lnd_api::proto::lnrpc::channel_close_summary::ClosureType;
use lnd_api::proto::lnrpc::close_status_update::Update;
use regtest::channel_point::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use tokio::time::timeout;

use crate::binaries;

const CAPACITY_SAT: u64 = 1_000_000;
const PUSHED_SAT: u64 = 400_000;
/// Maximum fees of the transactions of a force-closed channel, at regtest's fee rates.
const MAX_FEES_SAT: u64 = 30_000;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn cooperative_and_forced_closes_return_the_balances() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(PUSHED_SAT);
    let points = network.open(&[plan, plan]).await?;

    let before = on_chain(&network).await?;
    close(&network, "alice", &points[0], false).await?;
    network.mine(6).await?;
    wait_closed(&network, 1, ClosureType::CooperativeClose).await?;
    let after = on_chain(&network).await?;
    // The opener pays the closing fee.
    assert_eq!(after.1, before.1 + PUSHED_SAT);
    assert_gain(before.0, after.0, CAPACITY_SAT - PUSHED_SAT);

    let before = after;
    close(&network, "alice", &points[1], true).await?;
    network.mine_until_swept(6, LIMIT).await?;
    let after = on_chain(&network).await?;
    assert_gain(before.0, after.0, CAPACITY_SAT - PUSHED_SAT);
    assert_gain(before.1, after.1, PUSHED_SAT);
    // Bob sees the close and closes too: as in lnd, it is local for the node whose commitment confirmed.
    let mut kinds = Vec::new();
    for node in network.nodes() {
        let closed = node.api()?.closed().await?.channels;
        let forced = closed.iter().find(|one| one.channel_point == points[1]);
        kinds.push(
            forced
                .context("the channel is not listed as closed")?
                .close_type(),
        );
    }
    kinds.sort_unstable();
    let one_of_each = [ClosureType::LocalForceClose, ClosureType::RemoteForceClose];
    assert_eq!(kinds, one_of_each);
    network.finish();
    Ok(())
}

/// Requests a close and waits until the closing transaction is in the mempool.
pub(crate) async fn close(network: &Network, name: &str, point: &str, force: bool) -> Result<()> {
    let request = CloseChannelRequest {
        channel_point: Some(parse_point(point)?),
        force,
        ..Default::default()
    };
    let mut lightning = network[name].api()?.lightning;
    let mut updates = lightning.close_channel(request).await?.into_inner();
    updates
        .message()
        .await?
        .context("the node sent no update for the close")?;
    wait_for("the closing transaction", LIMIT, async || {
        ensure!(
            !network.bitcoind.mempool().await?.is_empty(),
            "the mempool is empty"
        );
        Ok(())
    })
    .await
}

async fn wait_closed(network: &Network, count: usize, kind: ClosureType) -> Result<()> {
    for node in network.nodes() {
        wait_for(
            &format!("{} to list the channel as closed", node.name()),
            LIMIT,
            async || {
                let closed = node.api()?.closed().await?.channels;
                ensure!(
                    closed.len() == count,
                    "{} channels are closed",
                    closed.len()
                );
                ensure!(
                    closed.iter().all(|one| one.close_type() == kind),
                    "closed as {closed:?}"
                );
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}

/// Confirmed balances of Alice's and Bob's wallets.
async fn on_chain(network: &Network) -> Result<(u64, u64)> {
    let alice = network["alice"].api()?.wallet().await?.confirmed_balance;
    let bob = network["bob"].api()?.wallet().await?.confirmed_balance;
    Ok((u64::try_from(alice)?, u64::try_from(bob)?))
}

#[track_caller]
fn assert_gain(before: u64, after: u64, most: u64) {
    let range = before + most - MAX_FEES_SAT..=before + most;
    assert!(range.contains(&after), "{after} sat is not in {range:?}");
}

#[tokio::test]
async fn cooperative_close_fails_if_it_ends_in_a_forced_close() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(PUSHED_SAT);
    let points = network.open(&[plan]).await?;
    // The connection stays open, but Bob no longer responds.
    network["bob"].freeze()?;
    let request = |force| -> Result<CloseChannelRequest> {
        Ok(CloseChannelRequest {
            channel_point: Some(parse_point(&points[0])?),
            no_wait: true,
            force,
            ..Default::default()
        })
    };
    let mut lightning = network["alice"].api()?.lightning;
    let together = lightning.close_channel(request(false)?).await?;
    let mut together = together.into_inner();
    let begun = together.message().await?.and_then(|update| update.update);
    ensure!(matches!(begun, Some(Update::CloseInstant(_))), "{begun:?}");
    lightning.close_channel(request(true)?).await?;
    let ended = timeout(LIMIT, together.message()).await?;
    let error = ended.err().context("it does not fail")?;
    ensure!(error.message().contains("force-closed"), "{error}");
    network["bob"].thaw()?;
    network.finish();
    Ok(())
}
