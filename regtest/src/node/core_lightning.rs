//! Configures, starts and connects to Core Lightning.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::Node;
use crate::bitcoind::Bitcoind;
use crate::peer::{CoreLightning, PeerApi};

/// Script in its directory that starts the bitcoin-cli of our bitcoind.
const BITCOIN_CLI: &str = "bitcoin-cli";
/// Settings of every lightningd in tests besides its name and bitcoind: short delays and constant fee
/// rates.
const CONFIG: [(&str, &str); 12] = [
    ("network", "regtest"),
    ("log-level", "debug"),
    ("dev-fast-gossip", ""),
    ("dev-bitcoind-poll", "1"),
    // Otherwise reconnection delays increase up to five minutes.
    ("dev-fast-reconnect", ""),
    ("autoconnect-seeker-peers", "0"),
    // As on mainnet; the regtest defaults are six blocks.
    ("cltv-delta", "34"),
    ("watchtime-blocks", "144"),
    ("max-concurrent-htlcs", "300"),
    ("force-feerates", "2500"),
    ("commit-feerate-offset", "0"),
    // `keysend` is one of them, and disabled for developers.
    ("allow-deprecated-apis", "true"),
];

/// Settings of every lightningd in tests.
pub(super) fn configure(node: &mut Node) {
    for (key, value) in CONFIG {
        node.set_raw(key, value);
    }
    node.set_raw("alias", &node.name.clone());
}

pub(super) fn use_bitcoind(node: &mut Node, bitcoind: &Bitcoind) -> Result<()> {
    let script = node.dir.join(BITCOIN_CLI);
    let words = bitcoind.cli()?.into_iter().map(|word| {
        let word = word.to_string_lossy().replace('\'', r"'\''");
        format!("'{word}'")
    });
    let words: Vec<String> = words.collect();
    fs::write(
        &script,
        format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    node.set_raw("bitcoin-cli", &script.display().to_string());
    node.set_raw("bitcoin-rpcconnect", "127.0.0.1");
    node.set_raw("bitcoin-rpcport", &bitcoind.rpc_port().to_string());
    node.set_raw("bitcoin-rpcuser", bitcoind.rpc_user());
    node.set_raw("bitcoin-rpcpassword", bitcoind.rpc_password());
    Ok(())
}

pub(super) fn config_file(node: &Node) -> PathBuf {
    node.dir.join("config")
}

pub(super) fn config_text(node: &Node) -> String {
    let line = |(key, value): (&String, &String)| {
        if value.is_empty() {
            format!("{key}\n")
        } else {
            format!("{key}={value}\n")
        }
    };
    let lines: String = node.config.iter().map(line).collect();
    format!("{lines}addr=127.0.0.1:{}\n", node.port)
}

pub(super) fn command(node: &Node) -> Command {
    let mut command = Command::new(&node.exe);
    // Speeds up gossip and polling for tests.
    command.arg("--developer");
    command.arg(format!("--lightning-dir={}", node.dir.display()));
    command
}

/// The directory of its files for its network.
pub(super) fn network_dir(node: &Node) -> PathBuf {
    node.dir.join("regtest")
}

pub(super) fn client(node: &Node) -> PeerApi {
    let socket = network_dir(node).join("lightning-rpc");
    PeerApi::CoreLightning(CoreLightning::at(&socket))
}
