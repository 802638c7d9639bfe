//! BTCPay's invoices: create, look up, subscribe, cancel.

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use regtest::rest::{Lines, Rest, base64, has, url_safe};
use serde_json::{Value, json};

use super::payments::{pay, request_for};
use crate::recorded::text;

/// All invoice members that it reads.
const MEMBERS: [&str; 11] = [
    "r_hash",
    "r_preimage",
    "value_msat",
    "amt_paid",
    "payment_request",
    "creation_date",
    "expiry",
    "settled",
    "settle_date",
    "state",
    "htlcs[]",
];

pub(super) async fn sells(shop: &Rest, payer: &Rest) -> Result<()> {
    let mut listener = shop.stream("/v1/invoices/subscribe").await?;
    let request = json!({"value_msat": "1500", "memo": "tea", "expiry": "600", "private": true});
    let made = shop.post("/v1/invoices", &request).await?.json()?;
    has(&next_event(&mut listener).await?, &MEMBERS)?;
    let found = look_up(shop, text(&made, "r_hash")?).await?;
    assert_eq!(
        (&found["state"], &found["settled"]),
        (&json!("OPEN"), &json!(false))
    );
    let paid = pay(payer, &request_for(text(&made, "payment_request")?)).await?;
    assert_eq!(paid["status"], "SUCCEEDED");
    let settled = next_event(&mut listener).await?;
    assert_eq!(settled["settled"], true, "{settled:#}");
    assert_eq!(settled["r_hash"], made["r_hash"]);
    // Interpreted as msat.
    let found = look_up(shop, text(&made, "r_hash")?).await?;
    assert_eq!(found["amt_paid"], "1500");
    has(&found, &["htlcs[].state", "htlcs[].custom_records"])?;
    assert_eq!(found["htlcs"][0]["state"], "SETTLED");
    unknown_and_described(shop).await
}

/// BTCPay matches the beginning of each line.
async fn next_event(listener: &mut Lines) -> Result<Value> {
    let line = tokio::time::timeout(crate::LIMIT, listener.next()).await;
    let line = line.context("the stream has no line")??;
    ensure!(line.starts_with("{\"result\":"), "{line}");
    let line: Value = serde_json::from_str(&line)?;
    Ok(line["result"].clone())
}

/// Sent with an empty path segment and the hash in the query.
async fn look_up(shop: &Rest, hash: &str) -> Result<Value> {
    let path = format!("/v1/invoice/?r_hash={}&", url_safe(hash)?);
    let found = shop.get(path.trim_end_matches('&')).await?.json()?;
    has(&found, &MEMBERS)?;
    Ok(found)
}

async fn unknown_and_described(shop: &Rest) -> Result<()> {
    let unknown = url_safe(&base64(&"11".repeat(32))?)?;
    let unknown = shop.get(&format!("/v1/invoice/?r_hash={unknown}")).await?;
    ensure!(unknown.status == 404, "{unknown:?}");
    let description = sha256::Hash::hash(b"tea and biscuits").to_string();
    let request = json!({
        "value_msat": "2000", "description_hash": base64(&description)?, "expiry": "600", "private": false,
    });
    let made = shop.post("/v1/invoices", &request).await?.json()?;
    let found = look_up(shop, text(&made, "r_hash")?).await?;
    assert_eq!(found["description_hash"], request["description_hash"]);
    Ok(())
}

pub(super) async fn cancels(shop: &Rest, payer: &Rest) -> Result<()> {
    let request = json!({"value_msat": "1500", "memo": "milk", "expiry": "600", "private": false});
    let made = shop.post("/v1/invoices", &request).await?.json()?;
    let order = json!({"payment_hash": made["r_hash"]});
    let canceled = shop.post("/v2/invoices/cancel", &order).await?.json()?;
    assert_eq!(canceled, json!({}));
    assert_eq!(
        look_up(shop, text(&made, "r_hash")?).await?["state"],
        "CANCELED"
    );
    let failed = pay(payer, &request_for(text(&made, "payment_request")?)).await?;
    assert_eq!(failed["status"], "FAILED");
    assert_eq!(
        failed["failure_reason"],
        "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS"
    );
    Ok(())
}
