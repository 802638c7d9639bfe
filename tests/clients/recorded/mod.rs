//! Clients that cannot be installed alone: exactly the calls that they make, and the members that they read.

mod btcpay;
mod forwarding;
mod rtl;
mod zeus;

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::{DisplayHex, FromHex};
use regtest::network::Network;
use regtest::rest::{Answer, Rest, base64, has, hex};
use regtest::wait::wait_for;
use serde_json::{Value, json};

use crate::Pair;

/// The record of a keysend payment's preimage.
const KEYSEND: &str = "5482373484";
/// The record in which wallets put the text of a message.
const MESSAGE: &str = "34349334";

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

/// A number that is written as a text.
fn number(json: &Value, name: &str) -> Result<u64> {
    Ok(text(json, name)?.parse()?)
}

/// Checks that a call was refused with a text that the client looks for.
fn refused(answer: &Answer, looked_for: &str) -> Result<()> {
    ensure!(answer.status >= 400, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.text)?;
    // A stream has its error one step deeper.
    let error = body.get("error").unwrap_or(&body);
    has(error, &["code", "message"])?;
    ensure!(text(error, "message")?.contains(looked_for), "{answer:?}");
    Ok(())
}

/// A keysend's preimage, and the records and the hash that belong to it.
fn keysend(preimage: [u8; 32], message: Option<&str>) -> Result<(Value, String)> {
    let hash = sha256::Hash::hash(&preimage).to_byte_array();
    let base64_of = |bytes: &[u8]| base64(&bytes.to_lower_hex_string());
    let mut records = json!({KEYSEND: base64_of(&preimage)?});
    if let Some(message) = message {
        records[MESSAGE] = base64_of(message.as_bytes())?.into();
    }
    Ok((records, base64_of(&hash)?))
}

/// Coins for a node's wallet, in a block.
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

/// A transaction's id as it is written, of its bytes in an answer.
fn txid(base64: &str) -> Result<String> {
    let mut bytes: Vec<u8> = FromHex::from_hex(&hex(base64)?)?;
    bytes.reverse();
    Ok(bytes.to_lower_hex_string())
}

/// Mines once the transaction with these bytes for its id is in the mempool: a node tells of it and sends it at
/// the same time.
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

/// Mines until the answer to a GET request is as wanted.
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
        anyhow::bail!("not one of {list} in {json:#}");
    };
    Ok(one)
}

/// Ends a test that went well.
async fn finish(pair: Pair) -> Result<()> {
    pair.network.wait_settled(crate::LIMIT).await?;
    pair.network.check_balances().await?;
    pair.network.finish();
    Ok(())
}
