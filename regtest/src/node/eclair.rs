//! Configures, starts and connects to Eclair.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::Node;
use crate::bitcoind::Bitcoind;
use crate::peer::{Eclair, PeerApi};
use crate::ports::free_port;

/// Password of the HTTP interface, which listens on 127.0.0.1 only.
const PASSWORD: &str = "regtest";
const API_PORT: &str = "eclair.api.port";
/// Settings of every Eclair in tests besides its name and bitcoind: short delays, no requests to the
/// internet, and as many HTLCs as the other programs allow.
const CONFIG: [(&str, &str); 21] = [
    ("eclair.chain", "regtest"),
    ("eclair.server.binding-ip", "127.0.0.1"),
    ("eclair.api.enabled", "true"),
    ("eclair.api.password", PASSWORD),
    ("eclair.features.keysend", "optional"),
    ("eclair.bitcoind.host", "127.0.0.1"),
    ("eclair.bitcoind.startup-locked-utxos-behavior", "unlock"),
    ("eclair.blockchain-watchdog.sources", "[]"),
    ("eclair.channel.min-depth-blocks", "6"),
    ("eclair.channel.max-accepted-htlcs", "300"),
    ("eclair.channel.max-block-processing-delay", "1 millisecond"),
    ("eclair.channel.max-restart-watch-delay", "1 millisecond"),
    ("eclair.channel.max-tx-publish-retry-delay", "1 second"),
    ("eclair.channel.max-htlc-value-in-flight-percent", "100"),
    (
        "eclair.channel.max-htlc-value-in-flight-msat",
        "100000000000000",
    ),
    ("eclair.channel.channel-update.balance-thresholds", "[]"),
    (
        "eclair.on-chain-fees.feerate-tolerance.dust-tolerance.max-exposure-satoshis",
        "1000000",
    ),
    ("eclair.router.broadcast-interval", "1 second"),
    ("eclair.router.watch-spent-window", "1 second"),
    ("eclair.max-payment-attempts", "10"),
    ("eclair.initial-random-reconnect-delay", "1 second"),
];

/// Settings of every Eclair in tests.
pub(super) fn configure(node: &mut Node) {
    for (key, value) in CONFIG {
        node.set_raw(key, value);
    }
    node.set_raw("eclair.node-alias", &node.name.clone());
}

pub(super) fn use_bitcoind(node: &mut Node, bitcoind: &Bitcoind) -> Result<()> {
    let zmq = bitcoind.zmq()?;
    let (block, transaction) = (zmq.block.clone(), zmq.transaction.clone());
    node.set_raw("eclair.bitcoind.rpcport", &bitcoind.rpc_port().to_string());
    node.set_raw("eclair.bitcoind.rpcuser", bitcoind.rpc_user());
    node.set_raw("eclair.bitcoind.rpcpassword", bitcoind.rpc_password());
    node.set_raw("eclair.bitcoind.wallet", &wallet(&node.name));
    node.set_raw("eclair.bitcoind.zmqblock", &block);
    node.set_raw("eclair.bitcoind.zmqtx", &transaction);
    Ok(())
}

/// The node's own wallet in bitcoind.
pub(super) fn wallet(name: &str) -> String {
    format!("eclair-{name}")
}

pub(super) fn config_file(node: &Node) -> PathBuf {
    node.dir.join("eclair.conf")
}

pub(super) fn config_text(node: &Node) -> String {
    let line = |(key, value): (&String, &String)| {
        if value.starts_with('[') {
            format!("{key} = {value}\n")
        } else {
            format!("{key} = {value:?}\n")
        }
    };
    let lines: String = node.config.iter().map(line).collect();
    format!("{lines}eclair.server.port = {}\n", node.port)
}

/// Chooses the port of the HTTP interface for this run.
pub(super) fn choose_api_port(node: &mut Node) -> Result<()> {
    let port = free_port()?;
    node.set_raw(API_PORT, &port.to_string());
    Ok(())
}

pub(super) fn command(node: &Node) -> Command {
    let mut command = Command::new(&node.exe);
    command.arg(format!("-Declair.datadir={}", node.dir.display()));
    // Several may run on one busy machine.
    command.env(
        "JAVA_OPTS",
        "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    );
    command
}

/// The directory of its files for its network.
pub(super) fn network_dir(node: &Node) -> PathBuf {
    node.dir.join("regtest")
}

pub(super) fn client(node: &Node) -> Result<PeerApi> {
    let port = node
        .config
        .get(API_PORT)
        .context("the node has not been started")?;
    Ok(PeerApi::Eclair(Eclair::at(port.parse()?, PASSWORD)))
}
