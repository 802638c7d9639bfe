//! RTL's view of the network.

use anyhow::Result;
use regtest::rest::{Rest, has};
use regtest::wait::wait_for;
use serde_json::Value;

use crate::recorded::text;

pub(super) async fn shows(node: &Rest, peer: &str) -> Result<()> {
    let info = node.get("/v1/graph/info").await?.json()?;
    let members = [
        "num_nodes",
        "num_channels",
        "total_network_capacity",
        "max_out_degree",
        "avg_out_degree",
        "avg_channel_size",
        "min_channel_size",
        "max_channel_size",
        "graph_diameter",
    ];
    has(&info, &members)?;
    let found = node.get(&format!("/v1/graph/node/{peer}")).await?.json()?;
    let members = [
        "node.pub_key",
        "node.alias",
        "node.color",
        "node.last_update",
        "node.addresses[].addr",
        "num_channels",
        "total_capacity",
    ];
    has(&found, &members)?;
    let all = node.get("/v1/graph").await?.json()?;
    has(&all, &["nodes[].pub_key", "edges[].channel_id"])?;
    edge(node).await?;
    routes(node, peer).await
}

/// RTL shows the policy of the other end.
async fn edge(node: &Rest) -> Result<Value> {
    let channels = node.get("/v1/channels").await?.json()?;
    let path = format!(
        "/v1/graph/edge/{}",
        text(&channels["channels"][0], "chan_id")?
    );
    wait_for("the policies of both ends", crate::LIMIT, async || {
        let edge = node.get(&path).await?.json()?;
        let members = [
            "channel_id",
            "chan_point",
            "node1_pub",
            "node2_pub",
            "capacity",
            "node1_policy.time_lock_delta",
            "node1_policy.fee_base_msat",
            "node1_policy.fee_rate_milli_msat",
            "node2_policy.time_lock_delta",
            "node2_policy.fee_base_msat",
            "node2_policy.fee_rate_milli_msat",
        ];
        has(&edge, &members)?;
        Ok(edge)
    })
    .await
}

async fn routes(node: &Rest, peer: &str) -> Result<()> {
    let path = format!("/v1/graph/routes/{peer}/1000");
    let found = node.get(&path).await?.json()?;
    let members = [
        "routes[].total_amt",
        "routes[].total_fees",
        "routes[].total_time_lock",
        "routes[].hops[].pub_key",
        "routes[].hops[].chan_id",
        "routes[].hops[].chan_capacity",
        "routes[].hops[].amt_to_forward_msat",
        "routes[].hops[].fee_msat",
        "routes[].hops[].expiry",
    ];
    has(&found, &members)?;
    assert_eq!(found["routes"][0]["hops"][0]["pub_key"], peer);
    Ok(())
}
