//! bitcoind crashes, hangs, or is unavailable for a long time while HTLCs are pending.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use regtest::api::bolt11;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;

use crate::binaries;
use crate::held::Held;

const LIMIT: Duration = Duration::from_secs(60);
const AMOUNT_MSAT: u64 = 1_000_000;
const COIN_SAT: u64 = 100_000;
/// Maximum fees of a forced close with two HTLCs: less than one of the HTLCs.
const CLOSE_FEES_SAT: u64 = 90_000;
const NODES: [&str; 2] = ["alice", "bob"];

async fn open(network: &Network) -> Result<()> {
    let plan = ChannelPlan::new("alice", "bob", 1_000_000);
    network.open(&[plan.push(300_000)]).await?;
    Ok(())
}

#[tokio::test]
async fn pending_htlcs_survive_a_killed_or_hanging_bitcoind() -> Result<()> {
    let mut network = Network::start(binaries()).await?;
    let mut nodes = Vec::new();
    for name in NODES {
        let mut node = network.prepare(name)?;
        node.unset("bitcoind-rpc-user");
        node.unset("bitcoind-rpc-password");
        let cookie = network.bitcoind.cookie_file();
        node.set("bitcoind-rpc-cookie", &cookie.display().to_string());
        nodes.push(node);
    }
    network.add(nodes).await?;
    open(&network).await?;
    let total = network.check_balances().await?;

    // bitcoind creates a new cookie at each start, and loses blocks that were not flushed.
    let held = Held::start(&network).await?;
    let blocks = network.bitcoind.blocks().await?;
    let cookie = std::fs::read(network.bitcoind.cookie_file())?;
    network.bitcoind.kill()?;
    wait_synced(&network, false).await?;
    pay(&network).await?;
    network.bitcoind.restart().await?;
    network.bitcoind.give(&blocks).await?;
    ensure!(
        std::fs::read(network.bitcoind.cookie_file())? != cookie,
        "the cookie has not changed"
    );
    network.mine(1).await?;
    held.resolve(&network).await?;

    // It hangs: it accepts connections but never responds.
    let held = Held::start(&network).await?;
    network.bitcoind.freeze()?;
    pay(&network).await?;
    held.resolve(&network).await?;
    let held = Held::start(&network).await?;
    network.bitcoind.thaw()?;
    network.mine(1).await?;
    held.resolve(&network).await?;

    assert_eq!(network.check_balances().await?, total);
    no_channel_closed(&network).await?;
    network.finish();
    Ok(())
}

/// When bitcoind returns, the HTLCs have expired and Bob is offline: Alice can recover the funds only
/// on chain.
#[tokio::test]
async fn htlcs_that_expire_during_a_bitcoind_outage_are_resolved_on_chain() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &NODES).await?;
    open(&network).await?;
    // Each claim needs its own UTXO to be broadcast immediately.
    let address = network["alice"].api()?.address().await?;
    for _ in 0..3 {
        let outputs = [(address.clone(), COIN_SAT)];
        network.bitcoind.fund(&outputs).await?;
    }
    network.mine(1).await?;
    let before = [
        worth(&network, "alice").await?,
        worth(&network, "bob").await?,
    ];
    let held = Held::start(&network).await?;
    let expiry = last_expiry(&network).await?;
    let directory = network.directory("world");
    let mut world = network.bitcoind.twin(&directory).await?;
    wait_synced(&network, true).await?;

    network.bitcoind.kill()?;
    wait_synced(&network, false).await?;
    network.kill(&["bob"])?;
    world.mine(expiry + 6 - world.height().await?).await?;
    // It returns with the blocks mined in between.
    network.bitcoind.swap_data(&mut world).await?;
    network.wait_synced().await?;
    wait_broadcast(&network, "the commitment and its CPFP child", 2).await?;
    network.mine(1).await?;
    // One transaction may claim both HTLCs.
    wait_broadcast(&network, "the claims", 1).await?;
    network.restart(&["bob"]).await?;
    network.mine(6).await?;
    held.wait_ended(&network, PaymentStatus::Failed).await?;
    network.mine_until_swept(12, LIMIT).await?;
    for (name, before) in NODES.into_iter().zip(before) {
        let after = worth(&network, name).await?;
        ensure!(
            after <= before && after + CLOSE_FEES_SAT >= before,
            "{name} had {before} sat and now has {after} sat"
        );
    }
    network.finish();
    Ok(())
}

async fn wait_broadcast(network: &Network, what: &str, count: usize) -> Result<()> {
    wait_for(what, LIMIT, async || {
        let found = network.bitcoind.mempool().await?.len();
        ensure!(found >= count, "{found} in the mempool");
        Ok(())
    })
    .await
}

/// Total of a node's channel and on-chain balances in sat.
async fn worth(network: &Network, name: &str) -> Result<u64> {
    let api = network[name].api()?;
    let on_chain = u64::try_from(api.wallet().await?.total_balance)?;
    Ok(on_chain + api.local_msat().await? / 1000)
}

async fn last_expiry(network: &Network) -> Result<u32> {
    let channels = network["alice"].api()?.channels().await?;
    let htlcs = channels.iter().flat_map(|channel| &channel.pending_htlcs);
    let expiries = htlcs.map(|htlc| htlc.expiration_height);
    expiries.max().context("no HTLC is pending")
}

async fn pay(network: &Network) -> Result<()> {
    let invoice = network["bob"].api()?.invoice(AMOUNT_MSAT).await?;
    network
        .pay("alice", &bolt11(&invoice.payment_request))
        .await?;
    Ok(())
}

async fn no_channel_closed(network: &Network) -> Result<()> {
    for node in network.nodes() {
        let closed = node.api()?.closed().await?.channels;
        ensure!(closed.is_empty(), "{} closed {closed:?}", node.name());
    }
    Ok(())
}

async fn wait_synced(network: &Network, expected: bool) -> Result<()> {
    wait_for("synced_to_chain to change", LIMIT, async || {
        for node in network.nodes() {
            let synced = node.api()?.info().await?.synced_to_chain;
            ensure!(synced == expected, "{}: {synced}", node.name());
        }
        Ok(())
    })
    .await
}
