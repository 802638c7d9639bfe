//! BTCPay's payments, and the error texts by which it recognizes their outcome.

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use regtest::rest::{Rest, base64, has, hex, url_safe};
use serde_json::{Value, json};

use crate::recorded::{keysend, refused, text};

/// All payment members that it reads.
const MEMBERS: [&str; 8] = [
    "status",
    "payment_hash",
    "payment_preimage",
    "fee_msat",
    "value_msat",
    "creation_date",
    "failure_reason",
    "payment_request",
];

pub(super) fn request_for(invoice: &str) -> Value {
    json!({
        "payment_request": invoice,
        "timeout_seconds": 30,
        "fee_limit_sat": "100",
        "no_inflight_updates": true,
    })
}

/// BTCPay reads the first line, which must be the only one.
pub(super) async fn pay(payer: &Rest, request: &Value) -> Result<Value> {
    let paid = payer.post("/v2/router/send", request).await?;
    ensure!(
        paid.text.starts_with("{\"result\":") && paid.text.ends_with('\n'),
        "{paid:?}"
    );
    let [line] = &paid.lines()?[..] else {
        anyhow::bail!("{paid:?}")
    };
    has(&line["result"], &MEMBERS)?;
    Ok(line["result"].clone())
}

/// An invoice without an amount, paid twice.
pub(super) async fn pays_what_names_no_amount(shop: &Rest, payer: &Rest) -> Result<()> {
    let request = json!({"memo": "any", "expiry": "600", "private": false});
    let made = shop.post("/v1/invoices", &request).await?.json()?;
    let mut order = request_for(text(&made, "payment_request")?);
    order["amt_msat"] = "2500".into();
    let paid = pay(payer, &order).await?;
    assert_eq!(paid["status"], "SUCCEEDED");
    assert_eq!(paid["value_msat"], "2500");
    refused(
        &payer.post("/v2/router/send", &order).await?,
        "already paid",
    )?;
    let hash = url_safe(&base64(text(&paid, "payment_hash")?)?)?;
    let tracked = payer.get(&format!("/v2/router/track/{hash}")).await?;
    ensure!(tracked.text.starts_with("{\"result\":"), "{tracked:?}");
    has(&tracked.lines()?[0]["result"], &MEMBERS)?;
    assert_eq!(tracked.lines()?[0]["result"]["status"], "SUCCEEDED");
    Ok(())
}

pub(super) async fn pays_a_key(payer: &Rest, key: &str) -> Result<()> {
    let (records, hash) = keysend([0x11; 32], None)?;
    let mut order = json!({
        "dest": base64(key)?, "payment_hash": hash, "dest_custom_records": records,
        "timeout_seconds": 30, "fee_limit_sat": "3", "amt_msat": "3000", "no_inflight_updates": true,
    });
    let paid = pay(payer, &order).await?;
    assert_eq!(paid["status"], "SUCCEEDED");
    assert_eq!(paid["payment_hash"], hex(&hash)?);
    assert_eq!(paid["payment_preimage"], "11".repeat(32));
    // A key that belongs to no known node.
    let (records, hash) = keysend([0x12; 32], None)?;
    let unknown_key = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
    order["dest"] = base64(unknown_key)?.into();
    order["payment_hash"] = hash.into();
    order["dest_custom_records"] = records;
    let failed = pay(payer, &order).await?;
    assert_eq!(failed["status"], "FAILED");
    assert_eq!(failed["failure_reason"], "FAILURE_REASON_NO_ROUTE");
    Ok(())
}

/// An amount above the balance, and its own invoice.
pub(super) async fn is_refused(shop: &Rest, payer: &Rest) -> Result<()> {
    let request = json!({"value_msat": "3000000000", "memo": "all", "expiry": "600"});
    let made = shop.post("/v1/invoices", &request).await?.json()?;
    let failed = pay(payer, &request_for(text(&made, "payment_request")?)).await?;
    assert_eq!(failed["status"], "FAILED");
    assert_eq!(
        failed["failure_reason"],
        "FAILURE_REASON_INSUFFICIENT_BALANCE"
    );
    let own = request_for(text(&made, "payment_request")?);
    refused(&shop.post("/v2/router/send", &own).await?, "self-payment")?;
    let unknown = url_safe(&base64(&"13".repeat(32))?)?;
    let unknown = payer.get(&format!("/v2/router/track/{unknown}")).await?;
    refused(&unknown, "payment isn't initiated")?;
    assert_eq!(unknown.lines()?[0]["error"]["code"], 5);
    Ok(())
}

pub(super) async fn waits_for_a_hold_invoice(shop: &Rest, payer: &Rest) -> Result<()> {
    let hash = sha256::Hash::hash(&[0x21; 32]).to_string();
    let request = json!({"hash": base64(&hash)?, "value_msat": "4000"});
    let made = shop.post("/v2/invoices/hodl", &request).await?.json()?;
    let invoice = text(&made, "payment_request")?;
    let first = json!({"payment_request": invoice, "timeout_seconds": 60, "fee_limit_sat": "4"});
    let mut held = payer.post_stream("/v2/router/send", &first).await?;
    ensure!(held.next().await?.contains("IN_FLIGHT"));
    let again = payer.post("/v2/router/send", &request_for(invoice)).await?;
    refused(&again, "in transition")?;
    let order = json!({"payment_hash": base64(&hash)?});
    shop.post("/v2/invoices/cancel", &order).await?.json()?;
    let rest = held.rest().await?;
    let last: Value = serde_json::from_str(rest.lines().last().context("the stream has no line")?)?;
    assert_eq!(last["result"]["status"], "FAILED", "{rest}");
    Ok(())
}

/// Sent with the question mark of an empty query.
pub(super) async fn lists(shop: &Rest, payer: &Rest) -> Result<()> {
    let invoices = shop.get("/v1/invoices?").await?.json()?;
    assert_eq!(invoices["invoices"][0]["amt_paid"], "1500");
    assert_eq!(invoices["invoices"][0]["settled"], true);
    let pending = shop
        .get("/v1/invoices?pending_only=True&index_offset=0")
        .await?;
    has(&pending.json()?, &["invoices[].r_hash"])?;
    let members = MEMBERS.map(|member| format!("payments[].{member}"));
    let members: Vec<_> = members.iter().map(String::as_str).collect();
    let payments = payer.get("/v1/payments?").await?.json()?;
    ensure!(payments["payments"][0].is_object(), "{payments:#}");
    has(&payments, &members)
}
