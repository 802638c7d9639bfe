//! Forced closes with an offline peer, by nodes with too few UTXOs for the fees: the commitment
//! always confirms, and the node's funds reach its wallet.

mod htlcs;
mod reserve;
mod scarce_coins;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Txid};
use lnd_api::proto::lnrpc::CloseChannelRequest;
use lnd_api::proto::lnrpc::close_status_update::Update;
use regtest::channel_point::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use serde_json::json;
use tokio::time::timeout;

use crate::binaries;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn node_without_utxos_can_force_close() -> Result<()> {
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
async fn forced_close_fee_is_bumped_as_funds_arrive() -> Result<()> {
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

/// Funds Bob in a block that leaves the mempool's other transactions unconfirmed, and waits until the
/// closing transaction and its descendants pay more than `before`. Returns their fee in sat.
async fn raised_by(network: &Network, txid: &str, sat: u64, before: u64) -> Result<u64> {
    let address = network["bob"].api()?.address().await?;
    let coin = network.bitcoind.fund(&[(address, sat)]).await?;
    let block = json!(["raw(51)", [coin]]);
    network.bitcoind.call("generateblock", block).await?;
    network.wait_synced().await?;
    // LDK rebroadcasts the claim now and every 30 s.
    network.bitcoind.mine_empty(1).await?;
    let what = format!("fees above {before} sat");
    wait_for(&what, LIMIT, async || {
        let fee = package_fee(network, txid).await?;
        ensure!(fee > before, "the fees are {fee} sat");
        Ok(fee)
    })
    .await
}

/// Fees of a transaction in the mempool and all its descendants, in sat.
async fn package_fee(network: &Network, txid: &str) -> Result<u64> {
    let entry = network.bitcoind.call("getmempoolentry", json!([txid]));
    let coins = entry.await?["fees"]["descendant"].as_f64();
    Ok(Amount::from_btc(coins.context("no fee")?)?.to_sat())
}

/// Force-closes and waits until bitcoind has the reported transaction. Returns its txid.
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
        .with_context(|| format!("{name}'s forced close was not broadcast within {LIMIT:?}"))??;
    let Some(Update::ClosePending(pending)) = update.and_then(|update| update.update) else {
        bail!("{name} reported no closing transaction");
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
