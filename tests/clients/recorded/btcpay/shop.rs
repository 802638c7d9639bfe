//! BTCPay's requests when a store's node is set up and displayed.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, has};
use serde_json::Value;

use crate::recorded::{refused, text};

pub(super) async fn connects(shop: &Rest) -> Result<()> {
    info(shop).await?;
    balance(shop).await?;
    // .NET writes booleans with a capital letter.
    let query = "active_only=False&inactive_only=False&public_only=False&private_only=False";
    let channels = shop.get(&format!("/v1/channels?{query}")).await?.json()?;
    let members = [
        "channels[].channel_point",
        "channels[].remote_pubkey",
        "channels[].private",
        "channels[].active",
        "channels[].capacity",
        "channels[].local_balance",
    ];
    has(&channels, &members)?;
    let point = text(&channels["channels"][0], "channel_point")?;
    ensure!(point.split(':').count() == 2, "{point}");
    has(&shop.get("/v1/newaddress").await?.json()?, &["address"])
}

/// BTCPay recognizes insufficient permissions by the code or the text.
pub(super) async fn is_unauthorized(shop: &Rest) -> Result<()> {
    let answer = shop.get("/v1/getinfo").await?;
    refused(&answer, "permission denied")?;
    let body: Value = serde_json::from_str(&answer.text)?;
    assert_eq!(body["code"], 2);
    Ok(())
}

async fn info(shop: &Rest) -> Result<()> {
    let info = shop.get("/v1/getinfo").await?.json()?;
    let members = [
        "block_height",
        "alias",
        "color",
        "version",
        "num_peers",
        "num_active_channels",
        "num_inactive_channels",
        "num_pending_channels",
        "uris[]",
    ];
    has(&info, &members)
}

async fn balance(shop: &Rest) -> Result<()> {
    let paths = [
        "/v1/balance/blockchain",
        "/v1/balance/channels",
        "/v1/channels/pending",
    ];
    // Requested concurrently.
    let [chain, channels, pending] = paths.map(|path| shop.get(path));
    let (chain, channels, pending) = tokio::try_join!(chain, channels, pending)?;
    has(
        &chain.json()?,
        &["confirmed_balance", "unconfirmed_balance", "locked_balance"],
    )?;
    let amounts = [
        "pending_open_local_balance.msat",
        "local_balance.msat",
        "remote_balance.msat",
    ];
    has(&channels.json()?, &amounts)?;
    let closing = [
        "pending_force_closing_channels[].limbo_balance",
        "waiting_close_channels[].limbo_balance",
    ];
    has(&pending.json()?, &closing)
}
