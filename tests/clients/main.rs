//! Clients built for lnd, run against ampd: real programs, installed from their registries.
//!
//! A test is ignored if the runtime of its client is not installed (`.ci/run` installs them).

mod browser;
mod install;
mod recorded;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use bitcoin::hex::DisplayHex;
use regtest::binaries::Binaries;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Node;
use regtest::node::Software::Ampd;
use regtest::trials;
use serde_json::json;
use tokio::time::timeout;

const CAPACITY_SAT: u64 = 4_000_000;
/// Time for a client to finish.
const LIMIT: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    trials::run([
        trials![ln_service_works].ignored_if(trials::not_installed(&["node", "npm"])),
        trials![lnbits_pays_and_receives].ignored_if(trials::not_installed(&["python3"])),
        browser::trials(),
        recorded::trials(),
    ])
}

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}

/// Two nodes with a channel, and a file for each with its connection details.
struct Pair {
    network: Network,
    directory: tempfile::TempDir,
}

impl Pair {
    async fn start() -> Result<Self> {
        let network = Network::mixed(binaries(), &[("alice", Ampd), ("bob", Ampd)]).await?;
        let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(CAPACITY_SAT / 2);
        network.open(&[plan]).await?;
        let directory = tempfile::tempdir()?;
        for name in ["alice", "bob"] {
            let access = access(&network[name])?;
            fs::write(directory.path().join(name), access.to_string())?;
        }
        Ok(Self { network, directory })
    }

    /// Runs a client with both nodes, the payer first.
    async fn run(&self, mut client: Command) -> Result<()> {
        for name in ["alice", "bob"] {
            client.arg(self.directory.path().join(name));
        }
        let mut client = tokio::process::Command::from(client);
        let output = timeout(LIMIT, client.kill_on_drop(true).output()).await;
        let output = output.context("the client did not exit")??;
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (text, errors) = (lossy(&output.stdout), lossy(&output.stderr));
        ensure!(output.status.success(), "{text}\n{errors}");
        Ok(())
    }
}

fn access(node: &Node) -> Result<serde_json::Value> {
    Ok(json!({
        "public_key": node.key(),
        "socket": node.rpc_address()?,
        "rest": format!("https://{}", node.rest_address()?),
        "cert": BASE64_STANDARD.encode(node.certificate()?),
        "certificate_file": node.dir().join("tls.cert"),
        "macaroon": node.macaroon("admin.macaroon")?.to_lower_hex_string(),
    }))
}

/// A file next to this one.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

async fn ln_service_works() -> Result<()> {
    let packages = install::from_npm()?;
    let script = packages.join("ln_service.mjs");
    fs::copy(file("ln_service.mjs"), &script)?;
    let pair = Pair::start().await?;
    let mut node = Command::new("node");
    node.arg(script);
    pair.run(node).await?;
    pair.network.check_balances().await?;
    pair.network.finish();
    Ok(())
}

async fn lnbits_pays_and_receives() -> Result<()> {
    let environment = install::from_pypi()?;
    let pair = Pair::start().await?;
    let mut python = Command::new(environment.join("bin/python"));
    // LNbits creates its data directory in the working directory.
    python
        .current_dir(pair.directory.path())
        .arg(file("lnbits_wallet.py"));
    pair.run(python).await?;
    pair.network.check_balances().await?;
    pair.network.finish();
    Ok(())
}
