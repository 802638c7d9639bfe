//! Configures, starts and connects to lnd.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::Node;
use crate::api::{Api, Server};
use crate::bitcoind::Bitcoind;
use crate::ports::free_port;

/// The RPC address, which lnd cannot choose itself.
const RPC_LISTEN: &str = "rpclisten";
const CERTIFICATE: &str = "tls.cert";
const KEY: &str = "tls.key";
/// The name in the certificate.
const HOST: &str = "localhost";
/// Settings of every lnd in tests besides its name and bitcoind: no wallet password, no macaroons (it
/// listens on 127.0.0.1 only), spontaneous payments, and short delays.
const CONFIG: [(&str, &str); 17] = [
    ("bitcoin.regtest", "true"),
    ("bitcoin.node", "bitcoind"),
    ("bitcoind.rpcpolling", "true"),
    ("bitcoind.blockpollinginterval", "100ms"),
    ("bitcoind.txpollinginterval", "100ms"),
    ("noseedbackup", "true"),
    ("no-macaroons", "true"),
    ("norest", "true"),
    ("nobootstrap", "true"),
    ("accept-amp", "true"),
    ("accept-keysend", "true"),
    ("maxpendingchannels", "10"),
    ("trickledelay", "50"),
    ("gossip.sub-batch-delay", "10ms"),
    ("gossip.max-channel-update-burst", "1000"),
    (
        "debuglevel",
        "info,HSWC=debug,INVC=debug,CRTR=debug,PEER=debug",
    ),
    ("logging.file.disable", "true"),
];

/// Settings of every lnd in tests.
pub(super) fn configure(node: &mut Node) -> Result<()> {
    for (key, value) in CONFIG {
        node.set(key, value);
    }
    node.set("alias", &node.name.clone());
    make_certificate(node)
}

pub(super) fn use_bitcoind(node: &mut Node, bitcoind: &Bitcoind) {
    node.set("bitcoind.rpchost", &bitcoind.rpc_address());
    node.set("bitcoind.rpcuser", bitcoind.rpc_user());
    node.set("bitcoind.rpcpass", bitcoind.rpc_password());
}

/// Replaces lnd's own certificate, which is a CA certificate and thus rejected by rustls.
fn make_certificate(node: &Node) -> Result<()> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()])?;
    fs::write(node.dir.join(CERTIFICATE), cert.pem())?;
    let mut options = fs::OpenOptions::new();
    let options = options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(node.dir.join(KEY))?;
    std::io::Write::write_all(&mut file, signing_key.serialize_pem().as_bytes())?;
    Ok(())
}

pub(super) fn config_file(node: &Node) -> PathBuf {
    node.dir.join("lnd.conf")
}

pub(super) fn config_text(node: &Node) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value}\n");
    let lines: String = node.config.iter().map(line).collect();
    format!(
        "[Application Options]\n{lines}listen=127.0.0.1:{}\n",
        node.port
    )
}

/// Chooses the RPC port for this run.
pub(super) fn choose_rpc_port(node: &mut Node) -> Result<()> {
    let address = format!("127.0.0.1:{}", free_port()?);
    node.set(RPC_LISTEN, &address);
    Ok(())
}

pub(super) fn command(node: &Node) -> Command {
    let mut command = Command::new(&node.exe);
    command.arg(argument("--lnddir", &node.dir));
    command.arg(argument("--configfile", &node.config_file()));
    command
}

fn argument(name: &str, path: &std::path::Path) -> String {
    format!("{name}={}", path.display())
}

/// RPC address and client.
pub(super) fn client(node: &Node) -> Result<(String, Api)> {
    let address = node.config.get(RPC_LISTEN);
    let address = address.context("the node has not been started")?.clone();
    let certificate = fs::read_to_string(node.dir.join(CERTIFICATE))?;
    let server = Server {
        address: &address,
        host: HOST,
        certificate: &certificate,
    };
    let api = Api::new(&server, None)?;
    Ok((address, api))
}

/// The directory of its files for its network.
pub(super) fn network_dir(node: &Node) -> PathBuf {
    node.dir.join("data/chain/bitcoin/regtest")
}

/// lncli for a running node.
pub(super) fn lncli(node: &Node, lncli: &std::path::Path) -> Result<Command> {
    let mut command = Command::new(lncli);
    command
        .args(["--network=regtest", "--no-macaroons"])
        .arg(format!(
            "--rpcserver={}",
            node.rpc_address()?.replace("127.0.0.1", HOST)
        ))
        .arg(argument("--lnddir", &node.dir));
    Ok(command)
}
