//! RTL's on-chain page.

use anyhow::{Context, Result, ensure};
use regtest::network::Network;
use regtest::rest::Rest;
use serde_json::{Value, json};

use super::post;
use crate::recorded::{fund, mine_until, refused, text};

/// RTL offers to unlock or create a wallet; a running node is already unlocked.
pub(super) async fn finds_it_unlocked(node: &Rest) -> Result<()> {
    let unlocked = "wallet already unlocked, WalletUnlocker service is no longer available";
    for path in ["/v1/genseed", "/v1/genseed?aezeed_passphrase=cGFzc3dvcmQ="] {
        refused(&node.get(path).await?, unlocked)?;
    }
    let unlock = json!({"wallet_password": "cGFzc3dvcmQ="});
    refused(&post(node, "/v1/unlockwallet", &unlock).await?, unlocked)?;
    let words = ["abandon"; 24];
    let mut init = json!({"wallet_password": "cGFzc3dvcmQ=", "cipher_seed_mnemonic": words});
    refused(&post(node, "/v1/initwallet", &init).await?, unlocked)?;
    init["aezeed_passphrase"] = "cGFzc3dvcmQ=".into();
    refused(&post(node, "/v1/initwallet", &init).await?, unlocked)
}

async fn coins(node: &Rest) -> Result<Vec<Value>> {
    let coins = post(
        node,
        "/v2/wallet/utxos",
        &json!({"max_confs": "1000000000"}),
    )
    .await?;
    let coins = coins.json()?["utxos"].as_array().cloned();
    coins.context("no list of UTXOs")
}

/// The txid also serves as the lease id.
pub(super) async fn leases_a_coin(node: &Rest) -> Result<()> {
    let before = coins(node).await?;
    let coin = &before.first().context("the wallet has no UTXO")?["outpoint"];
    let order = json!({
        "id": coin["txid_bytes"],
        "outpoint": {"txid_bytes": coin["txid_bytes"], "output_index": coin["output_index"]},
    });
    let leased = post(node, "/v2/wallet/utxos/lease", &order).await?.json()?;
    let until: u64 = text(&leased, "expiration")?.parse()?;
    ensure!(until > 1_700_000_000, "{leased}");
    assert_eq!(coins(node).await?.len(), before.len() - 1);
    post(node, "/v2/wallet/utxos/release", &order)
        .await?
        .json()?;
    assert_eq!(coins(node).await?.len(), before.len());
    Ok(())
}

pub(super) async fn sends(node: &Rest, other: &Rest) -> Result<String> {
    let to = other.get("/v1/newaddress?type=0").await?.json()?;
    let order = json!({"amount": 30_000, "addr": to["address"], "sat_per_vbyte": 2});
    let sent = post(node, "/v1/transactions", &order).await?.json()?;
    let txid = text(&sent, "txid")?.to_owned();
    assert_eq!(transaction(node, &txid).await?["num_confirmations"], 0);
    let too_much = json!({"amount": 900_000_000, "addr": to["address"], "target_conf": 6});
    let too_much = post(node, "/v1/transactions", &too_much).await?;
    refused(
        &too_much,
        "insufficient funds available to construct transaction",
    )?;
    Ok(txid)
}

async fn transaction(node: &Rest, txid: &str) -> Result<Value> {
    let all = node.get("/v1/transactions").await?.json()?;
    let all = all["transactions"].as_array().context("no list")?;
    let found = all.iter().find(|one| one["tx_hash"] == txid);
    found
        .cloned()
        .with_context(|| format!("{txid} is missing in {all:#?}"))
}

pub(super) async fn labels(node: &Rest, txid: &str) -> Result<()> {
    let mut bytes: [u8; 32] = bitcoin::hex::FromHex::from_hex(txid)?;
    bytes.reverse();
    let bytes = bitcoin::hex::DisplayHex::to_lower_hex_string(&bytes);
    let order = json!({"txid": regtest::rest::base64(&bytes)?, "label": "rent", "overwrite": true});
    post(node, "/v2/wallet/tx/label", &order).await?.json()?;
    assert_eq!(transaction(node, txid).await?["label"], "rent");
    Ok(())
}

/// By confirmation target and by fee rate.
pub(super) async fn pays_a_higher_fee(node: &Rest, network: &Network, txid: &str) -> Result<()> {
    let sent = transaction(node, txid).await?;
    let outputs = sent["output_details"].as_array().context("no outputs")?;
    let ours = outputs
        .iter()
        .find(|output| output["is_our_address"] == true);
    let index: u32 = text(ours.context("no change")?, "output_index")?.parse()?;
    let outpoint = json!({"txid_str": txid, "output_index": index});
    let order = json!({"outpoint": outpoint, "sat_per_vbyte": 9});
    post(node, "/v2/wallet/bumpfee", &order).await?.json()?;
    let mempool = network.bitcoind.mempool().await?;
    ensure!(!mempool.contains(&txid.to_owned()), "{mempool:?}");
    network.mine(1).await?;
    let again = json!({"outpoint": outpoint, "target_conf": 1});
    let again = post(node, "/v2/wallet/bumpfee", &again).await?;
    ensure!(again.status >= 400, "{again:?}");
    fund(network, "alice", &[100_000]).await?;
    let is_deep = |balance: &Value| balance["unconfirmed_balance"] == "0";
    mine_until(network, node, "/v1/balance/blockchain", is_deep).await?;
    Ok(())
}
