//! Zeus on chain: lists, selects and sends UTXOs, and bumps fees.

use anyhow::{Context, Result, ensure};
use regtest::network::Network;
use regtest::rest::{Rest, has};
use serde_json::{Value, json};

use super::{get, post};
use crate::recorded::{fund, text};

pub(super) async fn lists(node: &Rest) -> Result<()> {
    has(&get(node, "/v1/newaddress?type=0").await?, &["address"])?;
    let change = json!({"account": "default", "type": 1, "change": true});
    has(
        &post(node, "/v2/wallet/address/next", &change).await?,
        &["addr"],
    )?;
    let accounts = get(node, "/v2/wallet/accounts").await?;
    ensure!(accounts["accounts"][0].is_object(), "{accounts:#}");
    let members = [
        "accounts[].name",
        "accounts[].address_type",
        "accounts[].extended_public_key",
        "accounts[].master_key_fingerprint",
        "accounts[].derivation_path",
        "accounts[].external_key_count",
        "accounts[].internal_key_count",
        "accounts[].watch_only",
    ];
    has(&accounts, &members)?;
    let addresses = get(node, "/v2/wallet/addresses").await?;
    let account = &addresses["account_with_addresses"][0];
    ensure!(account["addresses"][0].is_object(), "{addresses:#}");
    let members = [
        "name",
        "address_type",
        "derivation_path",
        "addresses[].address",
        "addresses[].is_internal",
        "addresses[].balance",
        "addresses[].derivation_path",
        "addresses[].public_key",
    ];
    has(account, &members)
}

/// The UTXOs of its account from which the user can choose.
async fn coins(node: &Rest) -> Result<Vec<Value>> {
    let coins = post(node, "/v2/wallet/utxos", &json!({"account": "default"})).await?;
    let members = [
        "utxos[].address_type",
        "utxos[].address",
        "utxos[].amount_sat",
        "utxos[].pk_script",
        "utxos[].confirmations",
        "utxos[].outpoint.txid_str",
        "utxos[].outpoint.output_index",
    ];
    has(&coins, &members)?;
    coins["utxos"].as_array().cloned().context("no list")
}

fn outpoint(coin: &Value) -> Value {
    let point = &coin["outpoint"];
    json!({"txid_str": point["txid_str"], "output_index": point["output_index"]})
}

/// Sends a UTXO chosen by the user.
pub(super) async fn sends(node: &Rest, other: &Rest) -> Result<String> {
    let to = get(other, "/v1/newaddress").await?;
    let all = coins(node).await?;
    let coin = all.first().context("the wallet has no UTXO")?;
    let order = json!({
        "addr": to["address"], "amount": "30000", "sat_per_vbyte": "2", "spend_unconfirmed": false,
        "outpoints": [outpoint(coin)],
    });
    let sent = post(node, "/v1/transactions", &order).await?;
    Ok(text(&sent, "txid")?.to_owned())
}

pub(super) async fn pays_a_higher_fee(node: &Rest, network: &Network, txid: &str) -> Result<()> {
    let list = get(node, "/v1/transactions?end_height=-1&max_transactions=500").await?;
    let list = list["transactions"].as_array().context("no list")?;
    let sent = list.iter().find(|one| one["tx_hash"] == txid);
    let outputs = &sent.context("the transaction is not listed")?["output_details"];
    let outputs = outputs.as_array().context("no outputs")?;
    let ours = outputs
        .iter()
        .find(|output| output["is_our_address"] == true);
    let index: u32 = text(ours.context("no change")?, "output_index")?.parse()?;
    let order = json!({
        "outpoint": {"txid_str": txid, "output_index": index}, "sat_per_vbyte": "11",
    });
    post(node, "/v2/wallet/bumpfee", &order).await?;
    ensure!(!network.bitcoind.mempool().await?.contains(&txid.to_owned()));
    network.mine(1).await
}

/// A PSBT template that is signed, finalized and published step by step.
pub(super) async fn chooses_its_coins(node: &Rest, other: &Rest, network: &Network) -> Result<()> {
    fund(network, "alice", &[400_000]).await?;
    let to = get(other, "/v1/newaddress").await?;
    let all = coins(node).await?;
    let coin = all.iter().find(|coin| coin["amount_sat"] == "400000");
    let order = json!({
        "raw": {
            "outputs": {text(&to, "address")?: 50_000},
            "inputs": [outpoint(coin.context("the wallet has no such UTXO")?)],
        },
        "sat_per_vbyte": 3, "spend_unconfirmed": true, "account": "default",
    });
    let funded = post(node, "/v2/wallet/psbt/fund", &order).await?;
    has(
        &funded,
        &[
            "funded_psbt",
            "change_output_index",
            "locked_utxos[].expiration",
        ],
    )?;
    let psbt = json!({"funded_psbt": funded["funded_psbt"]});
    let signed = post(node, "/v2/wallet/psbt/sign", &psbt).await?;
    has(&signed, &["signed_psbt", "signed_inputs[]"])?;
    let finished = post(node, "/v2/wallet/psbt/finalize", &psbt).await?;
    has(&finished, &["signed_psbt", "raw_final_tx"])?;
    let order = json!({"tx_hex": finished["raw_final_tx"]});
    let published = post(node, "/v2/wallet/tx", &order).await?;
    assert_eq!(published["publish_error"], "");
    assert_eq!(network.bitcoind.mempool().await?.len(), 1);
    network.mine(1).await?;
    network.wait_wallet("bob", 80_000).await
}

/// Requests for unsupported features must fail, not return invented data.
pub(super) async fn asks_for_what_is_not_there(node: &Rest) -> Result<()> {
    let point = json!({"funding_txid_str": "11".repeat(32), "output_index": 0});
    let order = json!({"chan_point": point, "sat_per_vbyte": "20"});
    for answer in [
        node.post("/v2/wallet/BumpForceCloseFee", &order).await?,
        node.get("/v2/watchtower/client").await?,
        node.get("/v2/watchtower/client/stats").await?,
        node.get("/v2/watchtower/client/policy").await?,
    ] {
        ensure!(answer.status == 404 || answer.status == 501, "{answer:?}");
        has(&serde_json::from_str(&answer.text)?, &["code", "message"])?;
    }
    Ok(())
}
