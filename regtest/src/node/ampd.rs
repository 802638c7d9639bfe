//! Configures, starts and connects to ampd.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use bitcoin::hex::DisplayHex;
use crash_points::panics;
use lnd_api::layout::{ADMIN_FILE, CERTIFICATE_FILE, macaroon_directory};

use super::Node;
use crate::api::{Api, Server};
use crate::bitcoind::Bitcoind;

/// File in the network directory to which ampd writes its actual listening address.
const RPC_ADDRESS_FILE: &str = "rpc.address";
const REST_ADDRESS_FILE: &str = "rest.address";
/// The name in its certificate.
const HOST: &str = "localhost";
/// Everything from ampd and LDK, but not every gRPC frame.
const LOG_LEVEL: &str = "debug,h2=warn,hyper=warn,hyper_util=warn,tonic=warn,tower=warn";

/// Settings of every ampd in tests.
pub(super) fn configure(node: &mut Node) {
    node.set("network", "regtest");
    node.set("data-dir", &node.dir.display().to_string());
    node.set("alias", &node.name.clone());
    node.set("rpc-listen", "127.0.0.1:0");
    node.set("rest-listen", "127.0.0.1:0");
    node.set("chain-poll-interval", "100ms");
    node.set("log-level", LOG_LEVEL);
}

pub(super) fn use_bitcoind(node: &mut Node, bitcoind: &Bitcoind) {
    node.set("bitcoind-rpc-address", &bitcoind.rpc_address());
    node.set("bitcoind-rpc-user", bitcoind.rpc_user());
    node.set("bitcoind-rpc-password", bitcoind.rpc_password());
}

/// Formats a string as TOML.
pub(super) fn text(text: &str) -> String {
    format!("{text:?}")
}

pub(super) fn config_file(node: &Node) -> PathBuf {
    node.dir.join("ampd.toml")
}

pub(super) fn config_text(node: &Node) -> String {
    let line = |(key, value): (&String, &String)| format!("{key} = {value}\n");
    let mut text: String = node.config.iter().map(line).collect();
    if !node.config.contains_key("listen") {
        text += &format!("listen = [\"127.0.0.1:{}\"]\n", node.port);
    }
    text
}

/// Removes files by which the next start is detected.
pub(super) fn clear(node: &Node) -> Result<()> {
    let address_file = node.network_dir().join(RPC_ADDRESS_FILE);
    if address_file.exists() {
        fs::remove_file(&address_file)?;
    }
    Ok(())
}

pub(super) fn command(node: &Node) -> Command {
    let mut command = Command::new(&node.exe);
    command.arg("--config").arg(node.config_file());
    // Environment variables of the user would override the config file.
    let names = env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_string_lossy().starts_with("AMPD_")) {
        command.env_remove(name);
    }
    if let Some(point) = &node.abort_at {
        command.env(crash_points::VARIABLE, point);
    }
    if let Some(place) = node.panic_at {
        command.env(panics::VARIABLE, place.name());
    }
    command
}

/// RPC address and client; an error until the node has written its address and macaroon.
pub(super) fn client(node: &Node) -> Result<(String, Api)> {
    let address = read(&node.network_dir().join(RPC_ADDRESS_FILE))?;
    let address = String::from_utf8(address)?.trim().to_owned();
    let server = Server {
        address: &address,
        host: HOST,
        certificate: &certificate(node)?,
    };
    let macaroon = macaroon(node, ADMIN_FILE)?.to_lower_hex_string();
    let api = Api::new(&server, Some(&macaroon))?;
    Ok((address, api))
}

/// REST address as IP:port.
pub(super) fn rest_address(node: &Node) -> Result<String> {
    let address = read(&node.network_dir().join(REST_ADDRESS_FILE))?;
    Ok(String::from_utf8(address)?.trim().to_owned())
}

/// TLS certificate in PEM.
pub(super) fn certificate(node: &Node) -> Result<String> {
    Ok(String::from_utf8(read(&node.dir.join(CERTIFICATE_FILE))?)?)
}

/// One of the macaroon files.
pub(super) fn macaroon(node: &Node, file: &str) -> Result<Vec<u8>> {
    let directory = macaroon_directory(&node.dir, bitcoin::Network::Regtest);
    read(&directory.join(file))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("{} does not exist yet", file.display()))
}

/// The directory of its files for its network.
pub(super) fn network_dir(node: &Node) -> PathBuf {
    let network = node
        .config
        .get("network")
        .map(|text| text.trim_matches('"'));
    node.dir.join(network.unwrap_or_default())
}
