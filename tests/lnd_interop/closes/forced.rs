//! Forced closes while an HTLC is held: who gets it is decided on chain.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::CloseChannelRequest;
use regtest::network::Network;
use regtest::trials;
use regtest::wait::wait_for;

use super::balance::Balance;
use super::held::{Held, channel};
use super::{AMPD, CASES, LIMIT, LND, close_of, neighbours, wait_for_mempool};

/// Some 300 blocks, in which HTLCs time out and closers wait for their delayed outputs.
const SWEEP_LIMIT: Duration = Duration::from_secs(180);
const BLOCKS_PER_STEP: u32 = 6;

pub(crate) fn trials() -> trials::Trials {
    trials![
        half_sets_are_refunded_on_chain_after_timeout,
        sets_completed_after_the_close_are_claimed_on_chain,
    ]
}

async fn half_sets_are_refunded_on_chain_after_timeout() -> Result<()> {
    let (network, points) = neighbours().await?;
    let before = Balance::now(&network).await?;
    let (_, held) = hold_and_close(&network, &points).await?;
    network
        .mine_until_swept(BLOCKS_PER_STEP, SWEEP_LIMIT)
        .await?;
    for held in held {
        held.fails_back().await?;
    }
    before.assert_moved(&network, 0).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn sets_completed_after_the_close_are_claimed_on_chain() -> Result<()> {
    let (network, points) = neighbours().await?;
    let before = Balance::now(&network).await?;
    let (open, held) = hold_and_close(&network, &points).await?;
    for name in [AMPD, LND] {
        wait_until_active(&network, name, open).await?;
    }
    let mut halves = Vec::new();
    for held in held {
        halves.push(held.complete_elsewhere(open).await?);
    }
    network
        .mine_until_swept(BLOCKS_PER_STEP, SWEEP_LIMIT)
        .await?;
    for half in halves {
        half.arrives().await?;
    }
    // Two payments in each direction.
    before.assert_moved(&network, 0).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// Holds one half set on each channel but the last, and then closes all these channels.
async fn hold_and_close<'a>(
    network: &'a Network,
    points: &'a [String],
) -> Result<(&'a str, Vec<Held<'a>>)> {
    let (open, closing) = points.split_last().context("no channels")?;
    let mut held = Vec::new();
    for ((_, payer), point) in CASES.into_iter().zip(closing) {
        held.push(Held::start(network, payer, point).await?);
    }
    for ((closer, _), point) in CASES.into_iter().zip(closing) {
        close(network, closer, point).await?;
    }
    network.mine(1).await?;
    Ok((open, held))
}

async fn close(network: &Network, closer: &str, point: &str) -> Result<()> {
    let request = CloseChannelRequest {
        force: true,
        ..close_of(point)?
    };
    let before = network.bitcoind.mempool().await?.len();
    let mut lightning = network[closer].api()?.lightning;
    let mut updates = lightning.close_channel(request).await?.into_inner();
    let update = updates.message().await?;
    update.context("the node sent no update for the close")?;
    wait_for_mempool(network, before + 1).await
}

/// lnd lists closed channels until their closing transactions are three blocks deep.
async fn wait_until_active(network: &Network, name: &str, point: &str) -> Result<()> {
    wait_for("the open channel", LIMIT, async || {
        let channel = channel(&network[name].api()?, point).await?;
        ensure!(channel.active, "the channel is not active at {name}");
        Ok(())
    })
    .await
}
