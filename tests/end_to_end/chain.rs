//! Changes at bitcoind under a running node: outages, new blocks and reorganizations.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::SendCoinsRequest;
use regtest::api::bolt11;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use serde_json::json;
use tonic::Code;

use crate::{SETTLE_LIMIT, binaries};

const LIMIT: Duration = Duration::from_secs(30);
const COIN_SAT: u64 = 300_000;
const AMOUNT_MSAT: u64 = 5_000_000;

#[tokio::test]
async fn nodes_survive_a_bitcoind_outage_and_follow_a_reorg() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000);
    network.open(&[plan]).await?;
    survives_a_bitcoind_outage(&mut network).await?;
    follows_a_reorg(&network).await?;
    pay(&network).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// The node is degraded but not down: it reports this, and channels keep working.
async fn survives_a_bitcoind_outage(network: &mut Network) -> Result<()> {
    let before = network["alice"].api()?.wallet().await?;
    network.bitcoind.stop().await?;
    on_chain_payment_fails(network).await?;
    wait_synced(network, false).await?;
    on_chain_payment_fails(network).await?;
    assert_eq!(network["alice"].api()?.wallet().await?, before);
    pay(network).await?;
    network.bitcoind.restart().await?;
    wait_synced(network, true).await?;
    assert_eq!(network.bitcoind.mempool().await?, [""; 0]);
    let mut alice = network["alice"].api()?.lightning;
    let sent = alice.send_coins(to_bob(network).await?).await?.into_inner();
    assert_eq!(network.bitcoind.mempool().await?, [sent.txid]);
    network.mine(1).await
}

/// An on-chain payment fails without using a UTXO.
async fn on_chain_payment_fails(network: &Network) -> Result<()> {
    let mut alice = network["alice"].api()?.lightning;
    let refused = alice.send_coins(to_bob(network).await?).await;
    let refused = refused
        .err()
        .context("the payment succeeded without bitcoind")?;
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let text = refused.message();
    ensure!(
        text.starts_with("nothing was sent: cannot reach bitcoind"),
        "{text}"
    );
    Ok(())
}

async fn to_bob(network: &Network) -> Result<SendCoinsRequest> {
    Ok(SendCoinsRequest {
        addr: network["bob"].api()?.address().await?,
        amount: 20_000,
        sat_per_vbyte: 5,
        ..Default::default()
    })
}

async fn wait_synced(network: &Network, expected: bool) -> Result<()> {
    let what = format!("synced_to_chain to be {expected}");
    wait_for(&what, LIMIT, async || {
        let synced = network["alice"].api()?.info().await?.synced_to_chain;
        ensure!(synced == expected, "synced_to_chain is {synced}");
        Ok(())
    })
    .await
}

/// A deposit is confirmed, unconfirmed by a reorg, and confirmed again; the channel stays open.
async fn follows_a_reorg(network: &Network) -> Result<()> {
    let alice = network["alice"].api()?;
    let before = alice.wallet().await?.confirmed_balance;
    let coin = i64::try_from(COIN_SAT)?;
    let outputs = [(alice.address().await?, COIN_SAT)];
    network.bitcoind.fund(&outputs).await?;
    network.mine(2).await?;
    wait_balance(network, (before + coin, 0)).await?;

    network.bitcoind.invalidate(2).await?;
    // The deposit is in the mempool again, and these blocks leave it there.
    network.bitcoind.mine_empty(3).await?;
    network.wait_synced().await?;
    wait_balance(network, (before, coin)).await?;
    let best = network.bitcoind.call("getbestblockhash", json!([])).await?;
    assert_eq!(best, json!(alice.info().await?.block_hash));

    network.mine(1).await?;
    wait_balance(network, (before + coin, 0)).await?;
    network.wait_usable().await
}

/// Waits until Alice's wallet has these confirmed and unconfirmed balances in sat.
async fn wait_balance(network: &Network, expected: (i64, i64)) -> Result<()> {
    wait_for("the deposit", LIMIT, async || {
        let wallet = network["alice"].api()?.wallet().await?;
        let found = (wallet.confirmed_balance, wallet.unconfirmed_balance);
        ensure!(found == expected, "{found:?} instead of {expected:?}");
        Ok(())
    })
    .await
}

async fn pay(network: &Network) -> Result<()> {
    let invoice = network["bob"].api()?.invoice(AMOUNT_MSAT).await?;
    let request = bolt11(&invoice.payment_request);
    network.pay("alice", &request).await?;
    network.wait_settled(SETTLE_LIMIT).await
}
