//! Zeus opens and closes channels, updates their policies, and shows the network.

use anyhow::{Context, Result, ensure};
use regtest::network::Network;
use regtest::rest::{Rest, has};
use regtest::wait::wait_for;
use serde_json::{Value, json};

use super::{get, post};
use crate::recorded::{self, fund, mine_until, mine_with, only, text};

pub(super) async fn sets_the_terms(node: &Rest) -> Result<()> {
    let channels = get(node, "/v1/channels").await?;
    let (txid, index) = point(text(only(&channels, "channels")?, "channel_point")?)?;
    let mut order = json!({
        "base_fee_msat": "1700", "fee_rate": "0.00001",
        "inboundFee": {"base_fee_msat": "0", "fee_rate_ppm": "0"},
        "chan_point": {"funding_txid_str": txid, "output_index": index},
        "time_lock_delta": 80, "min_htlc_msat": null, "max_htlc_msat": null,
        "min_htlc_msat_specified": false,
    });
    let done = post(node, "/v1/chanpolicy", &order).await?;
    assert_eq!(done["failed_updates"], json!([]));
    let fees = get(node, "/v1/fees").await?;
    let fee = only(&fees, "channel_fees")?;
    assert_eq!(
        (&fee["base_fee_msat"], &fee["fee_per_mil"]),
        (&json!("1700"), &json!("10"))
    );
    // For all channels.
    order["chan_point"].take();
    order
        .as_object_mut()
        .context("no object")?
        .remove("chan_point");
    order["global"] = true.into();
    let done = post(node, "/v1/chanpolicy", &order).await?;
    assert_eq!(done["failed_updates"], json!([]));
    Ok(())
}

pub(super) async fn shows_the_network(node: &Rest, peer: &str) -> Result<()> {
    let info = get(node, "/v1/graph/info").await?;
    has(
        &info,
        &["num_nodes", "num_channels", "total_network_capacity"],
    )?;
    let found = get(node, &format!("/v1/graph/node/{peer}")).await?;
    has(
        &found,
        &[
            "node.pub_key",
            "node.alias",
            "node.color",
            "node.addresses[].addr",
        ],
    )?;
    let channels = get(node, "/v1/channels").await?;
    let id = text(only(&channels, "channels")?, "chan_id")?;
    let path = format!("/v1/graph/edge/{id}");
    wait_for("the policies of both ends", crate::LIMIT, async || {
        let members = [
            "node1_pub",
            "node2_pub",
            "node1_policy.fee_base_msat",
            "node1_policy.fee_rate_milli_msat",
            "node1_policy.time_lock_delta",
            "node1_policy.min_htlc",
            "node1_policy.max_htlc_msat",
            "node1_policy.inbound_fee_base_msat",
            "node1_policy.inbound_fee_rate_milli_msat",
            "node2_policy.fee_base_msat",
        ];
        has(&get(node, &path).await?, &members)
    })
    .await?;
    let routes = get(node, &format!("/v1/graph/routes/{peer}/1000")).await?;
    has(&routes, &["routes[].total_fees", "routes[].hops[].pub_key"])?;
    assert_eq!(routes["routes"][0]["total_fees"], "0");
    Ok(())
}

/// The default order of its form: private, with an SCID alias.
fn order(network: &Network) -> Value {
    json!({
        "private": true, "scid_alias": true, "local_funding_amount": "500000", "min_confs": 1,
        "node_pubkey_string": network["bob"].key(), "sat_per_vbyte": "3", "spend_unconfirmed": false,
        "close_address": "",
    })
}

pub(super) async fn opens(node: &Rest, network: &Network) -> Result<String> {
    let address = json!({
        "addr": {"pubkey": network["bob"].key(), "host": network["bob"].peer_address()},
    });
    let connected = node.post("/v1/peers", &address).await?;
    ensure!(
        connected.text.contains("already connected"),
        "{connected:?}"
    );
    fund(network, "alice", &[800_000, 800_000]).await?;
    let opened = post(node, "/v1/channels", &order(network)).await?;
    let opened = shown_point(&opened, "funding_txid_bytes")?;
    let pending = get(node, "/v1/channels/pending").await?;
    let channel = &only(&pending, "pending_open_channels")?["channel"];
    assert_eq!(
        (&channel["channel_point"], &channel["private"]),
        (&json!(opened), &json!(true))
    );
    let open = |list: &Value| {
        list["channels"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    };
    mine_until(network, node, "/v1/channels?active_only=true", open).await?;
    network.wait_usable().await?;
    Ok(opened)
}

/// The same over a WebSocket, which Zeus reads to the end.
pub(super) async fn opens_and_follows(node: &Rest, network: &Network) -> Result<String> {
    let mut socket = node.socket("/v1/channels/stream?method=POST").await?;
    let mut order = order(network);
    let fields = order.as_object_mut().context("no object")?;
    fields.remove("close_address");
    order["node_pubkey"] = regtest::rest::base64(network["bob"].key())?.into();
    socket.send(&order).await?;
    let first = socket.next().await?.context("no answer")?;
    has(
        &first,
        &["result.pending_chan_id", "result.chan_pending.output_index"],
    )?;
    let pending = &first["result"]["chan_pending"];
    let opened = shown_point(pending, "txid")?;
    mine_with(network, text(pending, "txid")?, 6).await?;
    let second = socket.next().await?.context("no second answer")?;
    let point = &second["result"]["chan_open"]["channel_point"];
    assert_eq!(shown_point(point, "funding_txid_bytes")?, opened);
    ensure!(socket.next().await?.is_none());
    network.wait_usable().await?;
    Ok(opened)
}

/// The channel point from txid bytes and output index.
fn shown_point(json: &Value, txid: &str) -> Result<String> {
    let txid = recorded::txid(text(json, txid)?)?;
    Ok(format!("{txid}:{}", json["output_index"]))
}

/// Closes to an address chosen by the user.
pub(super) async fn closes(node: &Rest, network: &Network, opened: &str) -> Result<()> {
    let address = get(node, "/v1/newaddress?type=0").await?;
    let (address, (txid, index)) = (text(&address, "address")?, point(opened)?);
    let query = format!("force=false&sat_per_vbyte=5&delivery_address={address}");
    let mut updates = node
        .delete_stream(&format!("/v1/channels/{txid}/{index}?{query}"))
        .await?;
    let first = updates.next().await?;
    ensure!(first.starts_with("{\"result\":{\"close_pending\":"));
    let closing = mine_the_close(network, opened).await?;
    let second: Value = serde_json::from_str(&updates.next().await?)?;
    let closed = text(&second["result"]["chan_close"], "closing_txid")?;
    assert_eq!(recorded::txid(closed)?, closing);
    assert_eq!(updates.rest().await?, "");
    let closed = |list: &Value| only(list, "channels").is_ok();
    let closed = mine_until(network, node, "/v1/channels/closed", closed).await?;
    let members = [
        "channels[].channel_point",
        "channels[].closing_tx_hash",
        "channels[].close_type",
        "channels[].close_height",
        "channels[].settled_balance",
        "channels[].time_locked_balance",
    ];
    has(&closed, &members)?;
    assert_eq!(closed["channels"][0]["close_type"], "COOPERATIVE_CLOSE");
    Ok(())
}

/// Mines once a transaction in the mempool spends the channel's funding output, and returns its txid.
async fn mine_the_close(network: &Network, opened: &str) -> Result<String> {
    let (txid, vout) = point(opened)?;
    let output = json!([[{"txid": txid, "vout": vout}]]);
    let closing = wait_for("the end of a channel", crate::LIMIT, async || {
        let bitcoind = &network.bitcoind;
        let spent = bitcoind.call("gettxspendingprevout", output.clone());
        Ok(text(&spent.await?[0], "spendingtxid")?.to_owned())
    })
    .await?;
    network.mine(1).await?;
    Ok(closing)
}

pub(super) async fn closes_by_force(node: &Rest, network: &Network, opened: &str) -> Result<()> {
    let (txid, index) = point(opened)?;
    let path = format!("/v1/channels/{txid}/{index}?force=true");
    let mut updates = node.delete_stream(&path).await?;
    ensure!(updates.next().await?.contains("\"close_pending\""));
    // Either commitment may confirm: Bob broadcasts his when he learns of the close.
    let commitment = mine_the_close(network, opened).await?;
    let second: Value = serde_json::from_str(&updates.next().await?)?;
    let closed = text(&second["result"]["chan_close"], "closing_txid")?;
    assert_eq!(recorded::txid(closed)?, commitment);
    let list = "/v1/channels/pending";
    let closing = |list: &Value| only(list, "pending_force_closing_channels").is_ok();
    let pending = mine_until(network, node, list, closing).await?;
    let members = [
        "total_limbo_balance",
        "pending_force_closing_channels[].channel.channel_point",
        "pending_force_closing_channels[].closing_txid",
        "pending_force_closing_channels[].limbo_balance",
        "pending_force_closing_channels[].maturity_height",
        "pending_force_closing_channels[].blocks_til_maturity",
        "pending_force_closing_channels[].recovered_balance",
    ];
    has(&pending, &members)?;
    ensure!(
        text(&pending, "total_limbo_balance")?.parse::<u64>()? > 400_000,
        "{pending:#}"
    );
    network.mine_until_swept(20, crate::LIMIT).await
}

fn point(text: &str) -> Result<(&str, u32)> {
    let (txid, index) = text.split_once(':').context("not a channel point")?;
    Ok((txid, index.parse()?))
}
