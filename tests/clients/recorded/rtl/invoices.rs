//! RTL's invoices: create, look up, and follow until they are paid.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, base64, has, url_safe};
use serde_json::{Value, json};

use super::{payments, post};
use crate::recorded::{MESSAGE, keysend, text};

async fn make(node: &Rest, memo: &str) -> Result<Value> {
    let request =
        json!({"memo": memo, "value": 20, "private": true, "expiry": 3600, "is_amp": false});
    let made = post(node, "/v1/invoices", &request).await?.json()?;
    has(&made, &["r_hash", "payment_request", "add_index"])?;
    Ok(made)
}

pub(super) async fn makes(node: &Rest) -> Result<String> {
    let made = make(node, "tea").await?;
    let hash = url_safe(text(&made, "r_hash")?)?;
    let address = url_safe(text(&made, "payment_addr")?)?;
    for key in [
        format!("payment_hash={hash}"),
        format!("payment_addr={address}"),
    ] {
        let path = format!("/v2/invoices/lookup?{key}");
        let found = node.get(&path).await?.json()?;
        has(
            &found,
            &["r_hash", "r_preimage", "description_hash", "htlcs[]"],
        )?;
        assert_eq!(found["memo"], "tea");
    }
    let query = "num_max_invoices=100&index_offset=0&reversed=true";
    let invoices = node.get(&format!("/v1/invoices?{query}")).await?.json()?;
    let members = [
        "last_index_offset",
        "first_index_offset",
        "invoices[].r_hash",
        "invoices[].r_preimage",
        "invoices[].payment_request",
        "invoices[].state",
        "invoices[].creation_date",
        "invoices[].settle_date",
        "invoices[].value",
        "invoices[].amt_paid_sat",
        "invoices[].private",
        "invoices[].is_keysend",
        "invoices[].is_amp",
        "invoices[].expiry",
        "invoices[].cltv_expiry",
    ];
    has(&invoices, &members)?;
    Ok(text(&made, "payment_request")?.to_owned())
}

/// A long poll: the stream ends with the final state of the invoice, which is its second line, or its only
/// one if the invoice was already paid.
pub(super) async fn follows(payee: &Rest, payer: &Rest) -> Result<()> {
    let made = make(payee, "coffee").await?;
    let path = format!(
        "/v2/invoices/subscribe/{}",
        url_safe(text(&made, "r_hash")?)?
    );
    let mut poll = payee.stream(&path).await?;
    let first: Value = serde_json::from_str(&poll.next().await?)?;
    assert_eq!(first["result"]["state"], "OPEN");
    payments::pays(payer, text(&made, "payment_request")?).await?;
    let second: Value = serde_json::from_str(&poll.next().await?)?;
    has(
        &second["result"],
        &["r_preimage", "r_hash", "description_hash"],
    )?;
    assert_eq!(second["result"]["state"], "SETTLED");
    assert_eq!(poll.rest().await?, "");
    // RTL parses a single line separately.
    let again = payee.get(&path).await?.json()?;
    assert_eq!(again["result"]["state"], "SETTLED");
    Ok(())
}

/// The message of a spontaneous payment is in one of its records.
pub(super) async fn reads_a_message(payee: &Rest, payer: &Rest, key: &str) -> Result<()> {
    let (records, hash) = keysend([0x31; 32], Some("hello"))?;
    let order = json!({
        "dest": base64(key)?, "payment_hash": hash, "dest_custom_records": records, "amt": 7,
        "timeout_seconds": 30, "fee_limit_sat": 5,
    });
    payments::send(payer, &order).await?;
    let path = format!("/v2/invoices/lookup?payment_hash={}", url_safe(&hash)?);
    let found = payee.get(&path).await?.json()?;
    ensure!(
        found["is_keysend"] == true && found["memo"] == "",
        "{found:#}"
    );
    assert_eq!(found["htlcs"][0]["custom_records"][MESSAGE], "aGVsbG8=");
    Ok(())
}
