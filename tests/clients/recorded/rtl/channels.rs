//! RTL opens and closes channels and updates their policies.

use anyhow::{Context, Result, ensure};
use regtest::network::Network;
use regtest::rest::{Rest, has};
use regtest::wait::wait_for;
use serde_json::{Value, json};

use super::post;
use crate::recorded::{self, fund, mine_until, mine_with, only, refused, text};

/// Disconnects a peer and connects to it again.
pub(super) async fn connects(node: &Rest, network: &Network) -> Result<()> {
    let (key, host) = (network["bob"].key(), network["bob"].peer_address());
    let order = json!({"addr": {"host": host, "pubkey": key}, "perm": false});
    let answer = post(node, "/v1/peers", &order).await?;
    refused(&answer, "already connected to peer")?;
    node.delete(&format!("/v1/peers/{key}")).await?.json()?;
    wait_for("the peer", crate::LIMIT, async || {
        let answer = post(node, "/v1/peers", &order).await?;
        ensure!(
            answer.status == 200 || answer.text.contains("already connected"),
            "{answer:?}"
        );
        let peers = node.get("/v1/peers").await?.json()?;
        ensure!(only(&peers, "peers")?["pub_key"] == key, "{peers:#}");
        Ok(())
    })
    .await?;
    network.wait_usable().await
}

pub(super) async fn sets_the_terms(node: &Rest) -> Result<()> {
    let all = json!({
        "global": true, "base_fee_msat": 1500, "fee_rate": 0.000_002, "time_lock_delta": 80,
    });
    let done = post(node, "/v1/chanpolicy", &all).await?.json()?;
    assert_eq!(done["failed_updates"], json!([]));
    let channels = node.get("/v1/channels").await?.json()?;
    let channel = only(&channels, "channels")?;
    let (txid, index) = point(text(channel, "channel_point")?)?;
    let mut one = json!({
        "base_fee_msat": 1600, "fee_rate": 0.000_003, "time_lock_delta": 90,
        "chan_point": {"funding_txid_str": txid, "output_index": index},
    });
    let done = post(node, "/v1/chanpolicy", &one).await?.json()?;
    assert_eq!(done["failed_updates"], json!([]));
    let fees = node.get("/v1/fees").await?.json()?;
    let fee = only(&fees, "channel_fees")?;
    assert_eq!(fee["base_fee_msat"], "1600");
    assert_eq!(fee["fee_per_mil"], "3");
    // RTL shows the text of the first one.
    one["min_htlc_msat"] = json!(5000);
    one["min_htlc_msat_specified"] = json!(true);
    let done = post(node, "/v1/chanpolicy", &one).await?.json()?;
    has(
        &done,
        &[
            "failed_updates[].outpoint.txid_str",
            "failed_updates[].reason",
        ],
    )?;
    let failed = only(&done, "failed_updates")?;
    ensure!(
        text(failed, "update_error")?.contains("min_htlc_msat"),
        "{failed}"
    );
    one["time_lock_delta"] = json!(3);
    refused(&post(node, "/v1/chanpolicy", &one).await?, "too small")
}

pub(super) async fn opens(node: &Rest, network: &Network) -> Result<String> {
    fund(network, "alice", &[800_000]).await?;
    let order = json!({
        "node_pubkey_string": network["bob"].key(), "local_funding_amount": 500_000,
        "private": false, "spend_unconfirmed": false, "sat_per_vbyte": 3,
    });
    let opened = post(node, "/v1/channels", &order).await?.json()?;
    has(&opened, &["funding_txid_bytes", "output_index"])?;
    let txid = recorded::txid(text(&opened, "funding_txid_bytes")?)?;
    let opened = format!("{txid}:{}", opened["output_index"]);
    let pending = node.get("/v1/channels/pending").await?.json()?;
    let channel = &only(&pending, "pending_open_channels")?["channel"];
    assert_eq!(channel["channel_point"], *opened);
    let is_open = |list: &Value| {
        let channels = list["channels"].as_array().map(Vec::as_slice);
        let mut channels = channels.unwrap_or_default().iter();
        channels.any(|channel| channel["channel_point"] == *opened && channel["active"] == true)
    };
    mine_until(network, node, "/v1/channels", is_open).await?;
    network.wait_usable().await?;
    Ok(opened)
}

/// RTL ignores the stream; other clients read the transaction and its block from it.
pub(super) async fn closes(node: &Rest, network: &Network, opened: &str) -> Result<()> {
    let (txid, index) = point(opened)?;
    let path = format!("/v1/channels/{txid}/{index}?force=false&sat_per_vbyte=4");
    let mut updates = node.delete_stream(&path).await?;
    let first: Value = serde_json::from_str(&updates.next().await?)?;
    has(
        &first,
        &[
            "result.close_pending.txid",
            "result.close_pending.output_index",
        ],
    )?;
    let closing = text(&first["result"]["close_pending"], "txid")?.to_owned();
    let waiting = node.get("/v1/channels/pending").await?.json()?;
    let channel = &only(&waiting, "waiting_close_channels")?["channel"];
    assert_eq!(channel["channel_point"], opened);
    mine_with(network, &closing, 1).await?;
    let second: Value = serde_json::from_str(&updates.next().await?)?;
    let closed = &second["result"]["chan_close"];
    assert_eq!(
        (&closed["closing_txid"], &closed["success"]),
        (&json!(closing), &json!(true))
    );
    assert_eq!(updates.rest().await?, "");
    let is_closed = |list: &Value| only(list, "channels").is_ok();
    let list = mine_until(network, node, "/v1/channels/closed", is_closed).await?;
    let members = [
        "channels[].close_type",
        "channels[].remote_pubkey",
        "channels[].chan_id",
        "channels[].capacity",
        "channels[].close_height",
        "channels[].settled_balance",
        "channels[].time_locked_balance",
        "channels[].open_initiator",
        "channels[].close_initiator",
    ];
    has(&list, &members)?;
    let closed = only(&list, "channels")?;
    assert_eq!(closed["channel_point"], opened);
    assert_eq!(closed["closing_tx_hash"], recorded::txid(&closing)?);
    Ok(())
}

fn point(text: &str) -> Result<(&str, u32)> {
    let (txid, index) = text.split_once(':').context("not a channel point")?;
    Ok((txid, index.parse()?))
}
