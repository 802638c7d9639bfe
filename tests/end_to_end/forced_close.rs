//! Forced closes whose peer is gone, by nodes with too few coins for the fees: the commitment reaches the
//! chain in any case, and what belongs to the node ends in its wallet.

mod htlcs;
mod reserve;
mod scarce_coins;

use std::time::Duration;

use lnd_api::proto::lnrpc::CloseChannelRequest;
use lnd_api::proto::lnrpc::close_status_update::Update;
use anyhow::{Context, Result, bail, ensure};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Txid};
use regtest::network::channels::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use serde_json::json;
use tokio::time::timeout;

use crate::binaries;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_node_without_coins_can_close_by_force() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000).push(400_000);
    let points = network.open_without_reserve(&[plan]).await?;
    assert_eq!(network["bob"].api()?.wallet().await?.total_balance, 0);
    network.kill(&["alice"])?;
    force_close(&network, "bob", &points[0]).await?;
    network.mine(1).await?;
    assert!(network.bitcoind.mempool().await?.is_empty());
    network.finish();
    Ok(())
}

#[tokio::test]
async fn the_fee_of_a_forced_close_is_raised_as_coins_come() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000).push(400_000);
    let points = network.open_without_reserve(&[plan]).await?;
    network.kill(&["alice"])?;
    let txid = force_close(&network, "bob", &points[0]).await?;
    let alone = package_fee(&network, &txid).await?;
    // Too little for the whole fee.
    let first = raised_by(&network, &txid, 1_000, alone).await?;
    raised_by(&network, &txid, 50_000, first).await?;
    network.finish();
    Ok(())
}

/// Gives Bob a coin in a block that leaves the mempool's other transactions there, and waits until the closing
/// transaction and what spends it pay more than `before`. Returns that in sat.
async fn raised_by(network: &Network, txid: &str, sat: u64, before: u64) -> Result<u64> {
    let address = network["bob"].api()?.address().await?;
    let coin = network.bitcoind.fund(&[(address, sat)]).await?;
    let block = json!(["raw(51)", [coin]]);
    network.bitcoind.call("generateblock", block).await?;
    network.wait_synced().await?;
    // LDK repeats the claim now, and every 30 s.
    network.bitcoind.mine_empty(1).await?;
    let what = format!("more than {before} sat of fees");
    wait_for(&what, LIMIT, async || {
        let fee = package_fee(network, txid).await?;
        ensure!(fee > before, "they are {fee} sat");
        Ok(fee)
    })
    .await
}

/// Fees of a transaction in the mempool and of all that spends it, in sat.
async fn package_fee(network: &Network, txid: &str) -> Result<u64> {
    let entry = network.bitcoind.call("getmempoolentry", json!([txid]));
    let coins = entry.await?["fees"]["descendant"].as_f64();
    Ok(Amount::from_btc(coins.context("no fee")?)?.to_sat())
}

/// Closes by force, and waits until bitcoind has the transaction that the answer names. Returns its id.
async fn force_close(network: &Network, name: &str, point: &str) -> Result<String> {
    let request = CloseChannelRequest {
        channel_point: Some(parse_point(point)?),
        force: true,
        ..Default::default()
    };
    let mut lightning = network[name].api()?.lightning;
    let mut updates = lightning.close_channel(request).await?.into_inner();
    let update = timeout(LIMIT, updates.message())
        .await
        .with_context(|| format!("{name}'s forced close is not broadcast within {LIMIT:?}"))??;
    let Some(Update::ClosePending(pending)) = update.and_then(|update| update.update) else {
        bail!("{name} does not say which transaction closes the channel");
    };
    let txid = Txid::from_slice(&pending.txid)?.to_string();
    wait_for("the closing transaction", LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?;
        ensure!(mempool.contains(&txid), "the mempool holds {mempool:?}");
        Ok(())
    })
    .await?;
    Ok(txid)
}
