//! Clients that cannot be installed alone: exactly the calls that they make, and the members that they read.

mod btcpay;
mod rtl;
mod zeus;

use anyhow::{Context, Result};
use regtest::network::Network;
use regtest::rest::Rest;
use serde_json::Value;

use crate::Pair;

/// Both ends, with all that a client may do.
fn both(network: &Network) -> Result<[Rest; 2]> {
    let [alice, bob] = ["alice", "bob"].map(|name| Rest::of(&network[name], "admin.macaroon"));
    Ok([alice?, bob?])
}

fn text<'a>(json: &'a Value, name: &str) -> Result<&'a str> {
    json[name]
        .as_str()
        .with_context(|| format!("no {name} in {json:#}"))
}

/// Ends a test that went well.
async fn finish(pair: Pair) -> Result<()> {
    pair.network.wait_settled(crate::LIMIT).await?;
    pair.network.check_balances().await?;
    pair.network.finish();
    Ok(())
}
