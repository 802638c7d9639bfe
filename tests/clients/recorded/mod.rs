//! Clients that cannot be installed separately: their exact requests, and the members they read.

mod btcpay;
mod forwarding;
mod rtl;
mod zeus;

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::{DisplayHex, FromHex};
use regtest::network::Network;
use regtest::rest::{Answer, Rest, base64, has, hex};
use regtest::trials::Trials;
use regtest::wait::wait_for;
use serde_json::{Value, json};

use crate::Pair;

/// The record with a keysend payment's preimage.
const KEYSEND: &str = "5482373484";
/// The record in which wallets send a message.
const MESSAGE: &str = "34349334";

pub(crate) fn trials() -> Trials {
    btcpay::trials()
        .and(forwarding::trials())
        .and(rtl::trials())
        .and(zeus::trials())
}

/// The REST interfaces of both nodes with admin permissions.
fn both(network: &Network) -> Result<[Rest; 2]> {
    let [alice, bob] = ["alice", "bob"].map(|name| Rest::of(&network[name], "admin.macaroon"));
    Ok([alice?, bob?])
}

fn text<'a>(json: &'a Value, name: &str) -> Result<&'a str> {
    json[name]
        .as_str()
        .with_context(|| format!("no {name} in {json:#}"))
}

/// Parses a number encoded as a string.
fn number(json: &Value, name: &str) -> Result<u64> {
    Ok(text(json, name)?.parse()?)
}

/// Checks that a call failed with a text that the client matches.
fn refused(answer: &Answer, looked_for: &str) -> Result<()> {
    ensure!(answer.status >= 400, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.text)?;
    // In streams the error is nested one level deeper.
    let error = body.get("error").unwrap_or(&body);
    has(error, &["code", "message"])?;
    ensure!(text(error, "message")?.contains(looked_for), "{answer:?}");
    Ok(())
}

/// The custom records and payment hash of a keysend payment.
fn keysend(preimage: [u8; 32], message: Option<&str>) -> Result<(Value, String)> {
    let hash = sha256::Hash::hash(&preimage).to_byte_array();
    let base64_of = |bytes: &[u8]| base64(&bytes.to_lower_hex_string());
    let mut records = json!({KEYSEND: base64_of(&preimage)?});
    if let Some(message) = message {
        records[MESSAGE] = base64_of(message.as_bytes())?.into();
    }
    Ok((records, base64_of(&hash)?))
}

/// Confirmed outputs for a node's wallet.
async fn fund(network: &Network, name: &str, coins: &[u64]) -> Result<()> {
    let api = network[name].api()?;
    let before = u64::try_from(api.wallet().await?.confirmed_balance)?;
    let mut outputs = Vec::new();
    for sat in coins {
        outputs.push((api.address().await?, *sat));
    }
    network.bitcoind.fund(&outputs).await?;
    network.mine(1).await?;
    let all = before + coins.iter().sum::<u64>();
    network.wait_wallet(name, all).await
}

/// Converts the txid bytes of a response to the usual notation.
fn txid(base64: &str) -> Result<String> {
    let mut bytes: Vec<u8> = FromHex::from_hex(&hex(base64)?)?;
    bytes.reverse();
    Ok(bytes.to_lower_hex_string())
}

/// Mines once the transaction with these txid bytes is in the mempool: nodes report a transaction while
/// they are still broadcasting it.
async fn mine_with(network: &Network, base64: &str, blocks: u32) -> Result<()> {
    let txid = txid(base64)?;
    wait_for("a transaction in the mempool", crate::LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?;
        ensure!(mempool.contains(&txid), "{txid} is not in {mempool:?}");
        Ok(())
    })
    .await?;
    network.mine(blocks).await
}

/// Mines until the response to a GET request satisfies a condition.
async fn mine_until(
    network: &Network,
    node: &Rest,
    path: &str,
    mut wanted: impl FnMut(&Value) -> bool,
) -> Result<Value> {
    wait_for(path, crate::LIMIT, async || {
        network.mine(1).await?;
        let answer = node.get(path).await?.json()?;
        ensure!(wanted(&answer), "{answer:#}");
        Ok(answer)
    })
    .await
}

/// The only entry of a list.
fn only<'a>(json: &'a Value, list: &str) -> Result<&'a Value> {
    let items = json[list].as_array().map(Vec::as_slice);
    let [one] = items.unwrap_or_default() else {
        anyhow::bail!("expected one entry of {list} in {json:#}");
    };
    Ok(one)
}

/// Finishes a successful test.
async fn finish(pair: Pair) -> Result<()> {
    pair.network.wait_settled(crate::LIMIT).await?;
    pair.network.check_balances().await?;
    pair.network.finish();
    Ok(())
}
