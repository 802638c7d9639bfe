//! What the log records about API calls, and what it must not contain.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use bitcoin::hex::DisplayHex;
use lnd_macaroon::Macaroon;
use regtest::network::Network;
use regtest::node::Node;
use regtest::node::Software::Ampd;
use regtest::rest::Rest;
use regtest::wait::wait_for;
use serde_json::json;

use crate::binaries;

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn calls_are_logged_with_method_macaroon_duration_and_result() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let rest = Rest::of(node, "readonly.macaroon")?;
    rest.get("/v1/getinfo").await?.json()?;
    rest.post("/v1/invoices", &json!({"value": "5"})).await?;
    rest.get("/v1/invoice/00").await?;
    let bytes = node.macaroon("readonly.macaroon")?;
    let macaroon = Macaroon::decode(&bytes)?;
    for (method, macaroon, rest) in [
        ("GetInfo", &*name(&macaroon)?, "call"),
        ("AddInvoice", "refused", "permission denied"),
        ("LookupInvoice", &*name(&macaroon)?, "invalid hash length"),
    ] {
        let method = format!("/lnrpc.Lightning/{method}");
        let words = [&*method, macaroon, rest, "127.0.0.1", "ms="];
        wait_for(&method, LIMIT, async || line_with(node, &words)).await?;
    }
    let log = fs::read_to_string(node.log())?;
    let secret = bytes[bytes.len() - 32..].to_lower_hex_string();
    ensure!(
        !log.contains(&secret),
        "the log contains a macaroon's signature"
    );
    network.finish();
    Ok(())
}

/// The name used in the log: the root key id and the beginning of the nonce.
fn name(macaroon: &Macaroon) -> Result<String> {
    let id = macaroon.id()?;
    Ok(format!("{}:{}", id.root_key_id, id.nonce[..4].as_hex()))
}

fn line_with(node: &Node, words: &[&str]) -> Result<()> {
    let log = fs::read_to_string(node.log())?;
    let mut lines = log.lines();
    let found = lines.any(|line| words.iter().all(|word| line.contains(word)));
    ensure!(found, "no log line contains {words:?}");
    Ok(())
}
