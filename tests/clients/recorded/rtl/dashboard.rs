//! RTL's dashboard.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, has};
use serde_json::json;

use super::post;
use crate::recorded::{refused, text};

pub(super) async fn shows(node: &Rest) -> Result<()> {
    info(node).await?;
    // RTL also requests a backup, and logs that there is none.
    let backup = node.get("/v1/channels/backup").await?;
    refused(&backup, "static channel backups are not supported")?;
    channels(node).await?;
    money(node).await
}

async fn info(node: &Rest) -> Result<()> {
    let info = node.get("/v1/getinfo").await?.json()?;
    let members = [
        "version",
        "identity_pubkey",
        "alias",
        "color",
        "chains[].chain",
        "chains[].network",
        "uris[]",
        "block_height",
        "synced_to_chain",
        "num_active_channels",
        "num_inactive_channels",
        "num_pending_channels",
        "num_peers",
        "testnet",
    ];
    has(&info, &members)?;
    let version = text(&info, "version")?.split('-').next();
    ensure!(
        version.is_some_and(|version| version.split('.').count() == 3),
        "{info}"
    );
    Ok(())
}

async fn channels(node: &Rest) -> Result<()> {
    let channels = node.get("/v1/channels").await?.json()?;
    let members = [
        "channels[].chan_id",
        "channels[].channel_point",
        "channels[].remote_pubkey",
        "channels[].active",
        "channels[].private",
        "channels[].capacity",
        "channels[].local_balance",
        "channels[].remote_balance",
        "channels[].commit_fee",
        "channels[].fee_per_kw",
        "channels[].uptime",
        "channels[].lifetime",
    ];
    has(&channels, &members)?;
    let peer = text(&channels["channels"][0], "remote_pubkey")?;
    let known = node.get(&format!("/v1/graph/node/{peer}")).await?.json()?;
    has(&known, &["node.alias", "node.pub_key"])?;
    let unknown_key = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
    let unknown = node.get(&format!("/v1/graph/node/{unknown_key}")).await?;
    ensure!(unknown.status == 404, "{unknown:?}");
    let pending = node.get("/v1/channels/pending").await?.json()?;
    let members = [
        "total_limbo_balance",
        "pending_open_channels[].channel.remote_node_pub",
        "pending_closing_channels[]",
        "pending_force_closing_channels[].channel.remote_node_pub",
        "waiting_close_channels[].channel.remote_node_pub",
    ];
    has(&pending, &members)
}

async fn money(node: &Rest) -> Result<()> {
    let balance = node.get("/v1/balance/blockchain").await?.json()?;
    has(
        &balance,
        &["total_balance", "confirmed_balance", "unconfirmed_balance"],
    )?;
    let sums = ["day_fee_sum", "week_fee_sum", "month_fee_sum"];
    let fees = node.get("/v1/fees").await?.json()?;
    has(&fees, &sums)?;
    let terms = [
        "channel_fees[].chan_id",
        "channel_fees[].channel_point",
        "channel_fees[].base_fee_msat",
        "channel_fees[].fee_per_mil",
        "channel_fees[].fee_rate",
    ];
    has(&fees, &terms)?;
    let request = json!({
        "start_time": 1_700_000_000, "end_time": 4_000_000_000_u32, "num_max_events": 100,
        "index_offset": 0,
    });
    let history = post(node, "/v1/switch", &request).await?.json()?;
    has(&history, &["forwarding_events[]", "last_offset_index"])
}
