//! Zeus, connected to its owner's node.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, base64, has, hex};
use serde_json::json;

use super::{both, finish, text};
use crate::Pair;

/// LUD and keysend wallets put the text of a message here.
const MESSAGE: &str = "34349334";
const KEYSEND: &str = "5482373484";

#[tokio::test]
async fn zeus_shows_pays_and_is_paid() -> Result<()> {
    let pair = Pair::start().await?;
    let [payer, payee] = both(&pair.network)?;
    shows(&payer).await?;
    pays_an_amp_invoice(&payer, &payee).await?;
    pays_a_key(&payer, &payee, pair.network["bob"].key()).await?;
    finish(pair).await
}

async fn shows(node: &Rest) -> Result<()> {
    let info = node.get("/v1/getinfo").await?.json()?;
    has(
        &info,
        &[
            "identity_pubkey",
            "chains[].network",
            "uris[]",
            "version",
            "synced_to_chain",
        ],
    )?;
    let chain = node.get("/v1/balance/blockchain").await?.json()?;
    has(
        &chain,
        &["total_balance", "account_balance.default.confirmed_balance"],
    )?;
    let channels = node.get("/v1/balance/channels").await?.json()?;
    has(&channels, &["balance", "pending_open_balance"])?;
    has(
        &node.get("/v1/channels").await?.json()?,
        &["channels[].chan_id"],
    )?;
    has(
        &node.get("/v1/channels/pending").await?.json()?,
        &["total_limbo_balance"],
    )?;
    has(&node.get("/v1/fees").await?.json()?, &["channel_fees[]"])?;
    let transactions = node
        .get("/v1/transactions?end_height=-1&max_transactions=500")
        .await?;
    has(&transactions.json()?, &["transactions[].amount"])?;
    node.get("/v1/invoices?reversed=true&num_max_invoices=500")
        .await?
        .json()?;
    let query = "include_incomplete=true&max_payments=500&reversed=true";
    node.get(&format!("/v1/payments?{query}")).await?.json()?;
    Ok(())
}

async fn pays_an_amp_invoice(payer: &Rest, payee: &Rest) -> Result<()> {
    let asked = json!({
        "memo": "tips", "value_msat": "0", "expiry": "3600", "is_amp": true, "private": false,
    });
    let made = payee.post("/v1/invoices", &asked).await?.json()?;
    let request = text(&made, "payment_request")?;
    has(
        &payer.get(&format!("/v1/payreq/{request}")).await?.json()?,
        &["features", "payment_addr"],
    )?;
    let asked = json!({
        "payment_request": request, "amt": "300", "max_parts": "16", "fee_limit_sat": "100",
        "timeout_seconds": 60, "allow_self_payment": true, "amp": true, "no_inflight_updates": true,
        "outgoing_chan_ids": [],
    });
    for _ in 0..2 {
        is_paid(payer, &asked).await?;
    }
    let hash = hex(text(&made, "r_hash")?)?;
    let found = payee.get(&format!("/v1/invoice/{hash}")).await?.json()?;
    has(&found, &["settled", "value", "payment_request", "is_amp"])?;
    assert_eq!(found["amt_paid_sat"], "600");
    Ok(())
}

/// With `amp` and still with the hash and the preimage of a keysend payment: AMP counts.
async fn pays_a_key(payer: &Rest, payee: &Rest, key: &str) -> Result<()> {
    let preimage = "ERERERERERERERERERERERERERERERERERERERERERE=";
    let asked = json!({
        "dest": base64(key)?, "amt": "50", "amp": true, "no_inflight_updates": true,
        "payment_hash": "xaBq2lm7X54orzjXod+mldoqZ0PnLwFh2kZDrLhBYsQ=", "timeout_seconds": 60,
        "fee_limit_sat": "100", "dest_custom_records": {KEYSEND: preimage, MESSAGE: "aGVsbG8="},
    });
    is_paid(payer, &asked).await?;
    let query = "/v1/invoices?reversed=true&num_max_invoices=1";
    let invoices = payee.get(query).await?.json()?;
    let records = &invoices["invoices"][0]["htlcs"][0]["custom_records"];
    assert_eq!(records[MESSAGE], "aGVsbG8=", "{invoices:#}");
    ensure!(records.get(KEYSEND).is_none(), "{records}");
    Ok(())
}

/// It takes the last line but the empty one after it.
async fn is_paid(payer: &Rest, asked: &serde_json::Value) -> Result<()> {
    let paid = payer.post("/v2/router/send", asked).await?;
    ensure!(paid.text.ends_with('\n'), "{paid:?}");
    let lines = paid.lines()?;
    let last = &lines[lines.len() - 1]["result"];
    has(
        last,
        &[
            "status",
            "payment_preimage",
            "payment_hash",
            "htlcs[]",
            "failure_reason",
        ],
    )?;
    assert_eq!(last["status"], "SUCCEEDED", "{paid:?}");
    Ok(())
}
