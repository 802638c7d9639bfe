//! Chain changes under nodes with pending HTLCs: reorgs, a bitcoind that never saw our blocks, one
//! that reindexes, one that prunes.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use regtest::bitcoind::Bitcoind;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use serde_json::json;

use crate::binaries;
use crate::held::Held;

const LIMIT: Duration = Duration::from_secs(60);
/// Number of blocks between the funding transaction and the first block that a test replaces.
const CONFIRMATIONS: u32 = 14;
/// LDK persists a monitor every five blocks, so this many consecutive blocks include a write of each.
const MONITOR_WRITE_BLOCKS: u32 = 6;
const NODES: [&str; 2] = ["alice", "bob"];

/// Alice and Bob with a channel whose funding is too deep to be reorganized.
async fn network() -> Result<Network> {
    let network = Network::with_nodes(binaries(), &NODES).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000);
    network.open(&[plan.push(300_000)]).await?;
    network.mine(CONFIRMATIONS).await?;
    Ok(network)
}

#[tokio::test]
async fn blocks_unknown_to_bitcoind_are_disconnected_from_every_listener() -> Result<()> {
    let mut network = network().await?;
    let total = network.check_balances().await?;
    let held = Held::start(&network).await?;
    let directory = network.directory("other-bitcoind");
    let other = network.bitcoind.twin(&directory).await?;

    // While the nodes are down, bitcoind is replaced with one that never saw the last blocks.
    network.mine(MONITOR_WRITE_BLOCKS).await?;
    network.kill(&NODES)?;
    other.mine(MONITOR_WRITE_BLOCKS + 2).await?;
    let mut other = network.replace_bitcoind(other)?;
    network.restart(&NODES).await?;
    back_at_work(&network).await?;
    held.resolve(&network).await?;

    // The same while they are running, as if an old copy of bitcoind's data was restored.
    let held = Held::start(&network).await?;
    other.mine(MONITOR_WRITE_BLOCKS).await?;
    network.bitcoind.swap_data(&mut other).await?;
    back_at_work(&network).await?;
    held.resolve(&network).await?;
    assert_eq!(network.check_balances().await?, total);

    different_chain_is_refused(&mut network).await?;
    network.restart(&NODES).await?;
    back_at_work(&network).await?;
    assert_eq!(network.check_balances().await?, total);
    network.finish();
    Ok(())
}

/// A bitcoind that has only the genesis block in common.
async fn different_chain_is_refused(network: &mut Network) -> Result<()> {
    network.kill(&NODES)?;
    let directory = network.directory("foreign-bitcoind");
    let foreign = Bitcoind::bare(&directory, "regtest", &[]).await?;
    foreign.mine(network.bitcoind.height().await? + 10).await?;
    let ours = network.replace_bitcoind(foreign)?;
    let refused = network["alice"].run_to_end().await?;
    network.replace_bitcoind(ours)?;
    let line = refused.stderr.lines().last().unwrap_or_default();
    ensure!(refused.status.code() == Some(1), "{}", refused.status);
    ensure!(
        line.contains("another chain") && line.contains("bitcoind-rpc-address"),
        "{line}"
    );
    Ok(())
}

#[tokio::test]
async fn pending_htlcs_survive_deep_reorgs_and_a_reindex() -> Result<()> {
    let mut network = network().await?;
    let total = network.check_balances().await?;
    for depth in 1..=6 {
        let held = Held::start(&network).await?;
        reorg(&network, depth).await?;
        back_at_work(&network).await?;
        network.kill(&NODES)?;
        reorg(&network, depth).await?;
        network.restart(&NODES).await?;
        back_at_work(&network).await?;
        held.resolve(&network).await?;
    }
    assert_eq!(network.check_balances().await?, total);

    let held = Held::start(&network).await?;
    // Disconnected and reconnected without other blocks.
    let lowest = network.bitcoind.invalidate(3).await?;
    wait_synced(&network, false).await?;
    reconsider(&network, &lowest).await?;
    back_at_work(&network).await?;
    reindex(&mut network).await?;
    back_at_work(&network).await?;
    network.kill(&NODES)?;
    reindex(&mut network).await?;
    network.restart(&NODES).await?;
    back_at_work(&network).await?;
    held.resolve(&network).await?;
    assert_eq!(network.check_balances().await?, total);
    network.finish();
    Ok(())
}

/// Replaces the last `depth` blocks with `depth + 1` new ones.
async fn reorg(network: &Network, depth: u32) -> Result<()> {
    network.bitcoind.invalidate(depth).await?;
    network.bitcoind.mine(depth + 1).await?;
    Ok(())
}

async fn reconsider(network: &Network, hash: &str) -> Result<()> {
    let bitcoind = &network.bitcoind;
    bitcoind.call("reconsiderblock", json!([hash])).await?;
    Ok(())
}

/// Makes bitcoind reindex. It responds while it processes blocks, starting from genesis.
async fn reindex(network: &mut Network) -> Result<()> {
    let bitcoind = &mut network.bitcoind;
    let height = bitcoind.height().await?;
    bitcoind.stop().await?;
    bitcoind.set_arguments(&["-reindex"]);
    bitcoind.restart().await?;
    bitcoind.set_arguments(&[]);
    wait_for("bitcoind to finish the reindex", LIMIT, async || {
        let read = bitcoind.height().await?;
        ensure!(read == height, "it is at block {read} of {height}");
        Ok(())
    })
    .await
}

/// A node that starts while bitcoind lacks known blocks waits for them without disconnecting blocks.
#[tokio::test]
async fn startup_waits_for_a_bitcoind_that_is_behind() -> Result<()> {
    let network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    alice.start().await?;
    alice.stop().await?;
    let lowest = network.bitcoind.invalidate(2).await?;
    let log = alice.log();
    let meanwhile = async {
        wait_for("Alice to wait for bitcoind", LIMIT, async || {
            let log = fs::read_to_string(&log)?;
            ensure!(
                log.contains("waiting until it has caught up"),
                "the log line is missing"
            );
            Ok(())
        })
        .await?;
        reconsider(&network, &lowest).await
    };
    tokio::try_join!(alice.start(), meanwhile)?;
    alice.stop().await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn pruned_bitcoind_works_until_a_required_block_is_missing() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &NODES).await?;
    network.bitcoind.stop().await?;
    network.bitcoind.set_arguments(&["-prune=1", "-fastprune"]);
    network.bitcoind.restart().await?;
    network.mine(600).await?;
    prune(&network).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000);
    network.open(&[plan.push(300_000)]).await?;
    network.mine(CONFIRMATIONS).await?;
    let total = network.check_balances().await?;

    let held = Held::start(&network).await?;
    network.kill(&NODES)?;
    reorg(&network, 3).await?;
    network.restart(&NODES).await?;
    back_at_work(&network).await?;
    held.resolve(&network).await?;
    assert_eq!(network.check_balances().await?, total);

    // While Alice is frozen, the blocks that she needs next are pruned.
    network["alice"].freeze()?;
    network.bitcoind.mine(700).await?;
    prune(&network).await?;
    network["alice"].thaw()?;
    wait_for("Alice to report the pruned block", LIMIT, async || {
        let log = fs::read_to_string(network["alice"].log())?;
        let mut lines = log.lines();
        let line = lines.find(|line| line.contains("degraded") && line.contains("is pruned"));
        ensure!(
            line.is_some_and(|line| line.contains("prune=0")),
            "{line:?}"
        );
        Ok(())
    })
    .await?;
    network.kill(&NODES)?;
    let refused = network["alice"].run_to_end().await?;
    let line = refused.stderr.lines().last().unwrap_or_default();
    ensure!(
        line.contains("is pruned") && line.contains("prune=0"),
        "{line}"
    );
    network.finish();
    Ok(())
}

/// Prunes everything that bitcoind can: all but the last 288 blocks.
async fn prune(network: &Network) -> Result<()> {
    let height = network.bitcoind.height().await?;
    let bitcoind = &network.bitcoind;
    bitcoind
        .call("pruneblockchain", json!([height - 288]))
        .await?;
    Ok(())
}

/// Checks that all nodes are at bitcoind's tip, and that no channel was closed.
async fn back_at_work(network: &Network) -> Result<()> {
    let best = network.bitcoind.call("getbestblockhash", json!([])).await?;
    for node in network.nodes() {
        let what = format!("{} to be at {best}", node.name());
        wait_for(&what, LIMIT, async || {
            let info = node.api()?.info().await?;
            ensure!(
                json!(info.block_hash) == best && info.synced_to_chain,
                "it is at height {}, synced_to_chain: {}",
                info.block_hash,
                info.synced_to_chain
            );
            Ok(())
        })
        .await?;
        let closed = node.api()?.closed().await?.channels;
        ensure!(closed.is_empty(), "{} closed {closed:?}", node.name());
    }
    network.wait_usable().await
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
