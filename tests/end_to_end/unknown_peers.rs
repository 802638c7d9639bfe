//! Resources that unknown peers can consume: memory, file descriptors, and bitcoind's time.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use regtest::network::Network;
use regtest::node::Node;
use regtest::raw_peer::{
    Identity, RawPeer, Target, forged_announcement, kind, message, short_channel_id,
};
use tokio::time::timeout;

use crate::binaries;

const LIMIT: Duration = Duration::from_secs(60);
const CONNECTIONS: u8 = 95;
/// Connections from one address, fewer than the node's limit.
const PER_ADDRESS: u8 = 24;
/// A ping that requests the longest pong (BOLT 1).
const LONGEST_PONG: [u8; 4] = [0xff, 0xfb, 0, 0];
const MAX_GROWTH_KB: u64 = 100 * 1024;

/// A field of `/proc/<pid>/status` in kB.
fn memory_kb(node: &Node, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid()?))?;
    let value = status.lines().find_map(|l| l.strip_prefix(line));
    let value = value.and_then(|value| value.split_whitespace().next());
    Ok(value.context("no such line")?.parse()?)
}

fn open_files(node: &Node) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", node.pid()?))?.count())
}

/// The node as seen from another address; honest nodes use 127.0.0.1.
fn target(node: &Node, host: u8) -> Result<Target> {
    Ok(Target::of(node)?.from(Ipv4Addr::new(127, 0, 1, host)))
}

#[tokio::test]
async fn unknown_peers_that_do_not_read_use_little_memory() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let alice = &network["alice"];
    let (memory, files) = (memory_kb(alice, "VmRSS:")?, open_files(alice)?);
    let ping = message(kind::PING, &LONGEST_PONG);
    let attacks = (0..CONNECTIONS).map(async |number| {
        let target = target(alice, 1 + number / PER_ADDRESS)?;
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        let pings = (0..400).map(|_| ping.clone());
        peer.send_unread(pings, Duration::from_secs(5)).await;
        // The node has read as many pings as it reads before writing.
        peer.read_kind(kind::PONG).await?;
        Ok::<_, anyhow::Error>(peer)
    });
    let attackers = try_join_all(attacks).await?;
    let more = open_files(alice)?.saturating_sub(files);
    let most = usize::from(CONNECTIONS) + 20;
    ensure!(
        more <= most,
        "{more} open files for {CONNECTIONS} connections"
    );
    let honest = Target::of(alice)?;
    let mut honest = RawPeer::connect(&honest, &Identity::random()).await?;
    honest.ping().await?;
    drop(attackers);
    honest.ping().await?;
    let peak = memory_kb(alice, "VmHWM:")?.saturating_sub(memory);
    let after = memory_kb(alice, "VmRSS:")?.saturating_sub(memory);
    println!("memory: {memory} kB before, peak +{peak} kB, afterwards +{after} kB");
    ensure!(peak <= MAX_GROWTH_KB, "memory grew by {peak} kB");
    network.finish();
    Ok(())
}

#[tokio::test]
async fn peer_that_announces_nonexistent_channels_is_banned() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    network.mine(10).await?;
    network.wait_synced().await?;
    let target = target(&network["alice"], 1)?;
    let identity = Identity::random();
    let mut peer = RawPeer::connect(&target, &identity).await?;
    // Each refers to a transaction index that does not exist in its block.
    let forged = (0..1_000)
        .map(|number| forged_announcement(short_channel_id(100 + number % 3, 1_000 + number, 0)));
    peer.flood(forged).await?;
    let banned = timeout(LIMIT, peer.stay()).await;
    banned.context("the peer was not disconnected")?;
    // The node sends its init before reading ours.
    let mut again = RawPeer::connect(&target, &identity).await?;
    ensure!(again.ping().await.is_err(), "the peer was not banned");
    RawPeer::connect(&target, &Identity::random())
        .await?
        .ping()
        .await?;
    network.finish();
    Ok(())
}
