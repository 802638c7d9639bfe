//! Zeus creates invoices and polls until they are paid.

use anyhow::{Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use regtest::rest::{Rest, base64, has, hex, url_safe};
use serde_json::{Value, json};

use super::payments::{is_paid, pay};
use super::{get, post};
use crate::recorded::{only, text};

pub(super) async fn is_paid_by_amp(payer: &Rest, payee: &Rest) -> Result<()> {
    let asked = json!({
        "memo": "tips", "value_msat": 0, "expiry": "3600", "is_amp": true, "is_blinded": false,
        "private": false,
    });
    let made = post(payee, "/v1/invoices", &asked).await?;
    let request = text(&made, "payment_request")?;
    let members = ["features", "payment_addr", "num_satoshis", "destination"];
    has(
        &get(payer, &format!("/v1/payreq/{request}")).await?,
        &members,
    )?;
    let order = json!({
        "payment_request": request, "amt": 300, "max_parts": "16", "fee_limit_sat": 100,
        "timeout_seconds": 60, "amp": true, "no_inflight_updates": true,
    });
    for _ in 0..2 {
        is_paid(payer, order.clone()).await?;
    }
    let found = poll(payee, &made).await?;
    assert_eq!(found["amt_paid_sat"], "600");
    assert_eq!(found["is_amp"], true);
    Ok(())
}

/// Zeus polls with the hash in hex.
async fn poll(payee: &Rest, made: &Value) -> Result<Value> {
    let found = get(
        payee,
        &format!("/v1/invoice/{}", hex(text(made, "r_hash")?)?),
    )
    .await?;
    let members = [
        "settled",
        "amt_paid_sat",
        "value",
        "payment_request",
        "is_amp",
        "r_preimage",
        "route_hints[]",
    ];
    has(&found, &members)?;
    Ok(found)
}

/// With a preimage and a route hint chosen by the user.
pub(super) async fn chooses_preimage_and_hints(payer: &Rest, payee: &Rest) -> Result<()> {
    let channels = get(payee, "/v1/channels").await?;
    let channel = only(&channels, "channels")?;
    let hint = json!({
        "node_id": channel["remote_pubkey"], "chan_id": channel["chan_id"], "fee_base_msat": 1000,
        "fee_proportional_millionths": 1, "cltv_expiry_delta": 80,
    });
    let asked = json!({
        "memo": "tea", "value_msat": 21_000, "expiry": "3600", "is_amp": false,
        "r_preimage": base64(&"51".repeat(32))?, "route_hints": [{"hop_hints": [hint]}],
    });
    let made = post(payee, "/v1/invoices", &asked).await?;
    let hash = sha256::Hash::hash(&[0x51; 32]).to_string();
    assert_eq!(hex(text(&made, "r_hash")?)?, hash);
    let request = text(&made, "payment_request")?;
    let decoded = get(payer, &format!("/v1/payreq/{request}")).await?;
    let hints = &decoded["route_hints"][0]["hop_hints"][0];
    assert_eq!(hints["chan_id"], channel["chan_id"]);
    assert_eq!(poll(payee, &made).await?["settled"], false);
    pays_over_hops(payer, request).await?;
    let found = poll(payee, &made).await?;
    assert_eq!(found["settled"], true);
    let path = format!(
        "/v2/invoices/subscribe/{}",
        url_safe(text(&made, "r_hash")?)?
    );
    assert_eq!(get(payee, &path).await?["result"]["state"], "SETTLED");
    Ok(())
}

/// With first and last hop chosen by the user: with a single hop, the payer is the last hop before the payee.
async fn pays_over_hops(payer: &Rest, request: &str) -> Result<()> {
    let channels = get(payer, "/v1/channels").await?;
    let first = &only(&channels, "channels")?["chan_id"];
    let own = get(payer, "/v1/getinfo").await?;
    let unknown_key = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
    let mut order = json!({
        "payment_request": request, "max_parts": "16", "fee_limit_sat": 100, "timeout_seconds": 60,
        "outgoing_chan_ids": [first], "last_hop_pubkey": base64(unknown_key)?,
    });
    let failed = pay(payer, order.clone()).await?;
    ensure!(
        failed["failure_reason"] == "FAILURE_REASON_NO_ROUTE",
        "{failed:#}"
    );
    order["last_hop_pubkey"] = base64(text(&own, "identity_pubkey")?)?.into();
    let paid = is_paid(payer, order).await?;
    assert_eq!(paid["payment_preimage"], "51".repeat(32));
    Ok(())
}
