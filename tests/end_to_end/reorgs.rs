//! The chain changes under nodes that hold HTLCs: reorgs, a bitcoind that never saw our blocks, one that
//! reindexes, one that prunes.

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
/// Between the funding transaction and the first block that a test replaces.
const BURIED: u32 = 14;
/// LDK writes a monitor with every fifth block: so many blocks in a row hold each one's last.
const EVERY_MONITOR: u32 = 6;
const NODES: [&str; 2] = ["alice", "bob"];

/// Alice and Bob with a channel whose funding is too deep to be replaced.
async fn network() -> Result<Network> {
    let network = Network::with_nodes(binaries(), &NODES).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000);
    network.open(&[plan.push(300_000)]).await?;
    network.mine(BURIED).await?;
    Ok(network)
}

#[tokio::test]
async fn blocks_that_bitcoind_does_not_know_are_rolled_back_for_each_listener() -> Result<()> {
    let mut network = network().await?;
    let total = network.check_balances().await?;
    let held = Held::start(&network).await?;
    let directory = network.directory("other-bitcoind");
    let other = network.bitcoind.twin(&directory).await?;

    // While the nodes are down they move to a bitcoind that never saw the last blocks.
    network.mine(EVERY_MONITOR).await?;
    network.kill(&NODES)?;
    other.mine(EVERY_MONITOR + 2).await?;
    let mut other = network.replace_bitcoind(other)?;
    network.restart(&NODES).await?;
    back_at_work(&network).await?;
    held.resolve(&network).await?;

    // The same while they run: somebody restores an old copy of bitcoind's data.
    let held = Held::start(&network).await?;
    other.mine(EVERY_MONITOR).await?;
    network.bitcoind.swap_data(&mut other).await?;
    back_at_work(&network).await?;
    held.resolve(&network).await?;
    assert_eq!(network.check_balances().await?, total);

    another_chain_is_refused(&mut network).await?;
    network.restart(&NODES).await?;
    back_at_work(&network).await?;
    assert_eq!(network.check_balances().await?, total);
    network.finish();
    Ok(())
}

/// A bitcoind that shares nothing with us but the first block.
async fn another_chain_is_refused(network: &mut Network) -> Result<()> {
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
async fn htlcs_outlive_reorgs_of_any_depth_and_a_reindex() -> Result<()> {
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
    // Taken off and put back, without other blocks.
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

/// Replaces the last `depth` blocks with one more.
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

/// bitcoind reads all blocks again. It answers from the first one on.
async fn reindex(network: &mut Network) -> Result<()> {
    let bitcoind = &mut network.bitcoind;
    let height = bitcoind.height().await?;
    bitcoind.stop().await?;
    bitcoind.set_arguments(&["-reindex"]);
    bitcoind.restart().await?;
    bitcoind.set_arguments(&[]);
    wait_for("bitcoind to have read its blocks", LIMIT, async || {
        let read = bitcoind.height().await?;
        ensure!(read == height, "it is at {read} of {height}");
        Ok(())
    })
    .await
}

/// A start while bitcoind lacks blocks that we have seen waits for them and takes nothing back.
#[tokio::test]
async fn a_start_waits_for_a_bitcoind_that_is_behind() -> Result<()> {
    let network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    alice.start().await?;
    alice.stop().await?;
    let lowest = network.bitcoind.invalidate(2).await?;
    let log = alice.log();
    let meanwhile = async {
        wait_for("Alice to wait for bitcoind", LIMIT, async || {
            let log = fs::read_to_string(&log)?;
            ensure!(log.contains("waiting until it has caught up"), "not yet");
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
async fn a_pruned_bitcoind_serves_until_it_lacks_a_block_that_we_need() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &NODES).await?;
    network.bitcoind.stop().await?;
    network.bitcoind.set_arguments(&["-prune=1", "-fastprune"]);
    network.bitcoind.restart().await?;
    network.mine(600).await?;
    prune(&network).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000);
    network.open(&[plan.push(300_000)]).await?;
    network.mine(BURIED).await?;
    let total = network.check_balances().await?;

    let held = Held::start(&network).await?;
    network.kill(&NODES)?;
    reorg(&network, 3).await?;
    network.restart(&NODES).await?;
    back_at_work(&network).await?;
    held.resolve(&network).await?;
    assert_eq!(network.check_balances().await?, total);

    // While Alice stands still, the blocks that she needs next are deleted.
    network["alice"].freeze()?;
    network.bitcoind.mine(700).await?;
    prune(&network).await?;
    network["alice"].thaw()?;
    wait_for("Alice to say what is wrong", LIMIT, async || {
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

/// Deletes what bitcoind may delete: all but the last 288 blocks.
async fn prune(network: &Network) -> Result<()> {
    let height = network.bitcoind.height().await?;
    let bitcoind = &network.bitcoind;
    bitcoind
        .call("pruneblockchain", json!([height - 288]))
        .await?;
    Ok(())
}

/// All nodes are at bitcoind's tip, and no channel was closed.
async fn back_at_work(network: &Network) -> Result<()> {
    let best = network.bitcoind.call("getbestblockhash", json!([])).await?;
    for node in network.nodes() {
        let what = format!("{} to be at {best}", node.name());
        wait_for(&what, LIMIT, async || {
            let info = node.api()?.info().await?;
            ensure!(
                json!(info.block_hash) == best && info.synced_to_chain,
                "it is at {}, synced: {}",
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
    wait_for("the nodes to notice", LIMIT, async || {
        for node in network.nodes() {
            let synced = node.api()?.info().await?.synced_to_chain;
            ensure!(synced == expected, "{}: {synced}", node.name());
        }
        Ok(())
    })
    .await
}
