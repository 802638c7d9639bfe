//! BTCPay Server's `type=lnd-rest`.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, has, url_safe};
use serde_json::json;

use super::{both, finish, text};
use crate::Pair;

#[tokio::test]
async fn btcpay_connects_sells_and_pays() -> Result<()> {
    let pair = Pair::start().await?;
    let [payer, shop] = both(&pair.network)?;
    connects(&shop).await?;
    let request = sells(&shop).await?;
    pays(&payer, &request).await?;
    sees_the_payment(&shop, &payer).await?;
    finish(pair).await
}

async fn connects(shop: &Rest) -> Result<()> {
    let info = shop.get("/v1/getinfo").await?.json()?;
    has(
        &info,
        &[
            "block_height",
            "alias",
            "color",
            "version",
            "num_peers",
            "num_active_channels",
        ],
    )?;
    has(
        &info,
        &["num_inactive_channels", "num_pending_channels", "uris[]"],
    )?;
    let chain = shop.get("/v1/balance/blockchain").await?.json()?;
    has(
        &chain,
        &["confirmed_balance", "unconfirmed_balance", "locked_balance"],
    )?;
    let channels = shop.get("/v1/balance/channels").await?.json()?;
    let amounts = [
        "pending_open_local_balance.msat",
        "local_balance.msat",
        "remote_balance.msat",
    ];
    has(&channels, &amounts)?;
    let pending = shop.get("/v1/channels/pending").await?.json()?;
    has(
        &pending,
        &[
            "pending_force_closing_channels[]",
            "waiting_close_channels[]",
        ],
    )?;
    // A .NET switch: with a capital.
    let channels = shop
        .get("/v1/channels?active_only=False&inactive_only=False")
        .await?
        .json()?;
    let members = [
        "channels[].channel_point",
        "channels[].remote_pubkey",
        "channels[].private",
    ];
    has(&channels, &members)?;
    has(
        &channels,
        &[
            "channels[].active",
            "channels[].capacity",
            "channels[].local_balance",
        ],
    )?;
    has(&shop.get("/v1/newaddress").await?.json()?, &["address"])?;
    Ok(())
}

async fn sells(shop: &Rest) -> Result<String> {
    let asked = json!({"value_msat": "1500", "memo": "tea", "expiry": "600", "private": true});
    let made = shop.post("/v1/invoices", &asked).await?.json()?;
    let hash = url_safe(text(&made, "r_hash")?)?;
    // An empty part of the path, the hash in the query.
    let found = shop
        .get(&format!("/v1/invoice/?r_hash={hash}"))
        .await?
        .json()?;
    has(
        &found,
        &[
            "r_hash",
            "r_preimage",
            "value_msat",
            "amt_paid",
            "payment_request",
            "htlcs[]",
        ],
    )?;
    has(
        &found,
        &["creation_date", "expiry", "settled", "settle_date", "state"],
    )?;
    let unknown = url_safe("ERERERERERERERERERERERERERERERERERERERERERE=")?;
    let unknown = shop.get(&format!("/v1/invoice/?r_hash={unknown}")).await?;
    ensure!(unknown.status == 404, "{unknown:?}");
    Ok(text(&made, "payment_request")?.to_owned())
}

async fn pays(payer: &Rest, request: &str) -> Result<()> {
    let asked = json!({
        "payment_request": request,
        "timeout_seconds": 30,
        "fee_limit_sat": "100",
        "no_inflight_updates": true,
    });
    let paid = payer.post("/v2/router/send", &asked).await?;
    ensure!(
        paid.text.starts_with("{\"result\":") && paid.text.ends_with('\n'),
        "{paid:?}"
    );
    let [line] = &paid.lines()?[..] else {
        anyhow::bail!("{paid:?}")
    };
    let result = &line["result"];
    has(
        result,
        &[
            "status",
            "payment_hash",
            "payment_preimage",
            "fee_msat",
            "value_msat",
        ],
    )?;
    has(result, &["creation_date", "failure_reason"])?;
    assert_eq!(result["status"], "SUCCEEDED");
    let again = payer.post("/v2/router/send", &asked).await?;
    ensure!(again.text.contains("already paid"), "{again:?}");
    let track = payer
        .get("/v2/router/track/ERERERERERERERERERERERERERERERERERERERERERE=")
        .await?;
    assert_eq!(track.lines()?[0]["error"]["code"], 5);
    Ok(())
}

async fn sees_the_payment(shop: &Rest, payer: &Rest) -> Result<()> {
    // What is left of an empty query after its question mark.
    let invoices = shop.get("/v1/invoices?").await?.json()?;
    assert_eq!(invoices["invoices"][0]["amt_paid"], "1500");
    assert_eq!(invoices["invoices"][0]["settled"], true);
    has(
        &payer.get("/v1/payments?").await?.json()?,
        &["payments[].payment_hash"],
    )?;
    let connected = json!({"addr": {"pubkey": "02".repeat(33), "host": "127.0.0.1:1"}});
    let refused = payer.post("/v1/peers", &connected).await?;
    ensure!(refused.status >= 400, "{refused:?}");
    Ok(())
}
