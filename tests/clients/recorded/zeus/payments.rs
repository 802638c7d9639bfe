//! Zeus's payments.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, base64, has, hex};
use serde_json::{Value, json};

use super::{get, last, post};
use crate::recorded::{KEYSEND, MESSAGE, keysend, text};

/// Includes the fields that Zeus adds to every payment.
pub(super) async fn pay(payer: &Rest, mut order: Value) -> Result<Value> {
    order["allow_self_payment"] = true.into();
    let answer = payer.post("/v2/router/send", &order).await?;
    ensure!(answer.text.ends_with('\n'), "{answer:?}");
    let result = last(&answer)?["result"].clone();
    let members = [
        "status",
        "payment_preimage",
        "payment_hash",
        "htlcs[]",
        "failure_reason",
    ];
    has(&result, &members)?;
    Ok(result)
}

pub(super) async fn is_paid(payer: &Rest, order: Value) -> Result<Value> {
    let result = pay(payer, order).await?;
    ensure!(result["status"] == "SUCCEEDED", "{result:#}");
    Ok(result)
}

/// With `amp` and a keysend payment's hash and preimage: AMP takes precedence.
pub(super) async fn pays_a_key_by_amp(payer: &Rest, payee: &Rest, key: &str) -> Result<()> {
    let (records, hash) = keysend([0x41; 32], Some("hello"))?;
    let order = json!({
        "dest": base64(key)?, "amt": 50, "payment_hash": hash, "dest_custom_records": records,
        "max_parts": "16", "fee_limit_sat": 100, "timeout_seconds": 60,
        "amp": true, "no_inflight_updates": true,
    });
    let paid = is_paid(payer, order).await?;
    assert_ne!(paid["payment_hash"], hex(&hash)?);
    let records = newest_records(payee).await?;
    assert_eq!(records[MESSAGE], "aGVsbG8=");
    ensure!(records.get(KEYSEND).is_none(), "{records}");
    Ok(())
}

pub(super) async fn pays_a_key(payer: &Rest, payee: &Rest, key: &str) -> Result<()> {
    let (records, hash) = keysend([0x42; 32], Some("hello"))?;
    let order = json!({
        "dest": base64(key)?, "amt": 50, "payment_hash": hash, "dest_custom_records": records,
        "max_parts": "1", "fee_limit_sat": 100, "timeout_seconds": 60,
    });
    let paid = is_paid(payer, order).await?;
    assert_eq!(paid["payment_hash"], hex(&hash)?);
    assert_eq!(paid["payment_preimage"], "42".repeat(32));
    assert_eq!(newest_records(payee).await?[MESSAGE], "aGVsbG8=");
    Ok(())
}

async fn newest_records(payee: &Rest) -> Result<Value> {
    let invoices = get(payee, "/v1/invoices?reversed=true&num_max_invoices=1").await?;
    Ok(invoices["invoices"][0]["htlcs"][0]["custom_records"].clone())
}

/// Zeus signs messages, also to log in with LNURL.
pub(super) async fn signs(node: &Rest, other: &Rest) -> Result<()> {
    let signed = post(node, "/v1/signmessage", &json!({"msg": "aGVsbG8="})).await?;
    let signature = text(&signed, "signature")?;
    let check = json!({"msg": "aGVsbG8=", "signature": signature});
    let checked = post(other, "/v1/verifymessage", &check).await?;
    let info = get(node, "/v1/getinfo").await?;
    assert_eq!(checked["valid"], true);
    assert_eq!(checked["pubkey"], info["identity_pubkey"]);
    Ok(())
}
