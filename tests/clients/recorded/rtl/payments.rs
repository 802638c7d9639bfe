//! RTL's payments.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, base64, has, url_safe};
use serde_json::{Value, json};

use super::post;
use crate::recorded::text;

pub(super) async fn pays(payer: &Rest, invoice: &str) -> Result<()> {
    let decoded = payer.get(&format!("/v1/payreq/{invoice}")).await?.json()?;
    let members = [
        "destination",
        "payment_hash",
        "num_satoshis",
        "num_msat",
        "description",
        "description_hash",
        "expiry",
        "timestamp",
        "cltv_expiry",
        "route_hints[]",
        "payment_addr",
        "features",
    ];
    has(&decoded, &members)?;
    let channels = payer.get("/v1/channels").await?.json()?;
    let order = json!({
        "payment_request": invoice, "amp": false, "fee_limit_sat": 100, "timeout_seconds": 600,
        "outgoing_chan_ids": [channels["channels"][0]["chan_id"]],
    });
    let paid = send(payer, &order).await?;
    track(payer, text(&paid, "payment_hash")?).await
}

/// An invoice without an amount, paid with AMP as selected by the user.
pub(super) async fn pays_by_amp(payer: &Rest, payee: &Rest) -> Result<()> {
    let request =
        json!({"memo": "tips", "value": 0, "private": false, "expiry": 3600, "is_amp": true});
    let made = post(payee, "/v1/invoices", &request).await?.json()?;
    let order = json!({
        "payment_request": made["payment_request"], "amp": true, "amt": 40, "fee_limit_sat": 100,
        "timeout_seconds": 600,
    });
    for _ in 0..2 {
        send(payer, &order).await?;
    }
    let address = url_safe(text(&made, "payment_addr")?)?;
    let path = format!("/v2/invoices/lookup?payment_addr={address}");
    let found = payee.get(&path).await?.json()?;
    assert_eq!(
        (&found["is_amp"], &found["amt_paid_sat"]),
        (&json!(true), &json!("80"))
    );
    Ok(())
}

/// RTL splits the response at line breaks, and could not parse a single line without one.
pub(super) async fn send(payer: &Rest, order: &Value) -> Result<Value> {
    let paid = post(payer, "/v2/router/send", order).await?;
    let lines = paid.lines()?;
    ensure!(lines.len() >= 2, "{paid:?}");
    assert_eq!(lines[0]["result"]["status"], "IN_FLIGHT");
    let last = &lines[lines.len() - 1]["result"];
    assert_eq!(last["status"], "SUCCEEDED", "{paid:?}");
    let members = [
        "failure_reason",
        "payment_hash",
        "payment_preimage",
        "fee_msat",
        "htlcs[].route.hops[].pub_key",
    ];
    has(last, &members)?;
    Ok(last.clone())
}

/// A single line, which RTL parses separately.
async fn track(payer: &Rest, hash: &str) -> Result<()> {
    let path = format!("/v2/router/track/{}", url_safe(&base64(hash)?)?);
    let found = payer.get(&path).await?.json()?;
    assert_eq!(found["result"]["payment_hash"], hash);
    assert_eq!(found["result"]["status"], "SUCCEEDED");
    Ok(())
}
