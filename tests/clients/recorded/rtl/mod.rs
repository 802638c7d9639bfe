//! Ride The Lightning.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, has, url_safe};
use serde_json::{Value, json};

use super::{both, finish, text};
use crate::Pair;

#[tokio::test]
async fn rtl_shows_and_pays() -> Result<()> {
    let pair = Pair::start().await?;
    let [payer, payee] = both(&pair.network)?;
    dashboard(&payer).await?;
    lists(&payer).await?;
    let request = invoice(&payee).await?;
    pays(&payer, &request).await?;
    finish(pair).await
}

/// It sends JSON as a form.
async fn post(node: &Rest, path: &str, body: &Value) -> Result<regtest::rest::Answer> {
    let form = "application/x-www-form-urlencoded";
    node.send("POST", path, &body.to_string(), form).await
}

async fn dashboard(node: &Rest) -> Result<()> {
    let info = node.get("/v1/getinfo").await?.json()?;
    has(
        &info,
        &[
            "version",
            "identity_pubkey",
            "alias",
            "color",
            "chains[].chain",
            "uris[]",
        ],
    )?;
    has(
        &info,
        &[
            "chains[].network",
            "block_height",
            "synced_to_chain",
            "num_active_channels",
        ],
    )?;
    let version = text(&info, "version")?.split('-').next();
    ensure!(
        version.is_some_and(|version| version.split('.').count() == 3),
        "{info}"
    );
    let balance = node.get("/v1/balance/blockchain").await?.json()?;
    has(
        &balance,
        &["total_balance", "confirmed_balance", "unconfirmed_balance"],
    )?;
    let channels = node.get("/v1/channels").await?.json()?;
    let members = [
        "channels[].chan_id",
        "channels[].uptime",
        "channels[].lifetime",
    ];
    has(&channels, &members)?;
    let peer = text(&channels["channels"][0], "remote_pubkey")?;
    has(
        &node.get(&format!("/v1/graph/node/{peer}")).await?.json()?,
        &["node.alias"],
    )?;
    let pending = node.get("/v1/channels/pending").await?.json()?;
    has(
        &pending,
        &[
            "total_limbo_balance",
            "pending_open_channels[].channel.remote_node_pub",
        ],
    )?;
    has(
        &node.get("/v1/channels/closed").await?.json()?,
        &["channels[]"],
    )?;
    let fees = node.get("/v1/fees").await?.json()?;
    has(
        &fees,
        &[
            "channel_fees[]",
            "day_fee_sum",
            "week_fee_sum",
            "month_fee_sum",
        ],
    )?;
    let history = json!({"start_time": "0", "end_time": "4000000000", "num_max_events": 100});
    let history = post(node, "/v1/switch", &history).await?.json()?;
    has(&history, &["forwarding_events[]", "last_offset_index"])?;
    has(
        &node.get("/v1/graph/info").await?.json()?,
        &["num_nodes", "num_channels"],
    )?;
    Ok(())
}

async fn lists(node: &Rest) -> Result<()> {
    has(
        &node.get("/v1/peers").await?.json()?,
        &["peers[].pub_key", "peers[].address"],
    )?;
    has(
        &node.get("/v1/transactions").await?.json()?,
        &["transactions[].tx_hash"],
    )?;
    let coins = post(node, "/v2/wallet/utxos", &json!({"max_confs": 9_999_999})).await?;
    has(
        &coins.json()?,
        &["utxos[].outpoint.txid_str", "utxos[].amount_sat"],
    )?;
    let query = "num_max_invoices=100&index_offset=0&reversed=true";
    let invoices = node.get(&format!("/v1/invoices?{query}")).await?.json()?;
    has(
        &invoices,
        &["invoices[]", "last_index_offset", "first_index_offset"],
    )?;
    node.get("/v1/invoices?pending_only=true").await?.json()?;
    let query = "max_payments=100&index_offset=0&reversed=true";
    let payments = node.get(&format!("/v1/payments?{query}")).await?.json()?;
    has(&payments, &["payments[]", "last_index_offset"])?;
    has(
        &node.get("/v1/newaddress?type=0").await?.json()?,
        &["address"],
    )?;
    let signed = post(node, "/v1/signmessage", &json!({"msg": "aGVsbG8="}))
        .await?
        .json()?;
    let check = json!({"msg": "aGVsbG8=", "signature": signed["signature"]});
    let checked = post(node, "/v1/verifymessage", &check).await?.json()?;
    has(&checked, &["valid", "pubkey"])
}

async fn invoice(node: &Rest) -> Result<String> {
    let asked = json!({"memo": "tea", "value": "20", "expiry": "3600", "is_amp": false});
    let made = post(node, "/v1/invoices", &asked).await?.json()?;
    let (hash, address) = (
        url_safe(text(&made, "r_hash")?)?,
        url_safe(text(&made, "payment_addr")?)?,
    );
    for key in [
        format!("payment_hash={hash}"),
        format!("payment_addr={address}"),
    ] {
        let found = node
            .get(&format!("/v2/invoices/lookup?{key}"))
            .await?
            .json()?;
        assert_eq!(found["memo"], "tea");
    }
    Ok(text(&made, "payment_request")?.to_owned())
}

/// It splits the answer at its line breaks and wants two lines at least.
async fn pays(node: &Rest, request: &str) -> Result<()> {
    let decoded = node.get(&format!("/v1/payreq/{request}")).await?.json()?;
    has(
        &decoded,
        &[
            "destination",
            "num_satoshis",
            "description",
            "expiry",
            "timestamp",
        ],
    )?;
    let asked = json!({"payment_request": request, "timeout_seconds": 30, "fee_limit_sat": "100"});
    let paid = post(node, "/v2/router/send", &asked).await?;
    let lines = paid.lines()?;
    ensure!(lines.len() >= 2, "{paid:?}");
    assert_eq!(lines[0]["result"]["status"], "IN_FLIGHT");
    let last = &lines[lines.len() - 1]["result"];
    assert_eq!(last["status"], "SUCCEEDED", "{paid:?}");
    has(
        last,
        &[
            "failure_reason",
            "payment_preimage",
            "htlcs[].route.hops[].pub_key",
        ],
    )
}
