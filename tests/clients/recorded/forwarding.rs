//! Forwarding history as displayed by RTL and Zeus.

use anyhow::{Context, Result, ensure};
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::Ampd;
use regtest::rest::{Rest, base64, has};
use regtest::trials;
use regtest::wait::wait_for;
use serde_json::{Value, json};

use super::text;

const EVENT: [&str; 10] = [
    "forwarding_events[].timestamp",
    "forwarding_events[].timestamp_ns",
    "forwarding_events[].chan_id_in",
    "forwarding_events[].chan_id_out",
    "forwarding_events[].amt_in",
    "forwarding_events[].amt_out",
    "forwarding_events[].amt_in_msat",
    "forwarding_events[].amt_out_msat",
    "forwarding_events[].fee",
    "forwarding_events[].fee_msat",
];

pub(crate) fn trials() -> trials::Trials {
    trials![forwarding_history_shows_earned_fees]
}

async fn forwarding_history_shows_earned_fees() -> Result<()> {
    let names = [("alice", Ampd), ("bob", Ampd), ("carol", Ampd)];
    let network = Network::mixed(crate::binaries(), &names).await?;
    let plans = [("alice", "bob"), ("bob", "carol")];
    let plans = plans.map(|(from, to)| ChannelPlan::new(from, to, 1_000_000));
    network.open(&plans).await?;
    let rest = |name: &str| Rest::of(&network[name], "admin.macaroon");
    let (payer, forwarder, payee) = (rest("alice")?, rest("bob")?, rest("carol")?);
    for _ in 0..2 {
        pays_over(&payer, &payee, network["bob"].key()).await?;
    }
    network.wait_settled(crate::LIMIT).await?;
    rtl(&forwarder).await?;
    zeus(&forwarder).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// Zeus with a last hop chosen by the user.
async fn pays_over(payer: &Rest, payee: &Rest, forwarder: &str) -> Result<()> {
    let request = json!({"memo": "tea", "value_msat": 50_000_000, "expiry": "3600"});
    let made = payee.post("/v1/invoices", &request).await?.json()?;
    let order = json!({
        "payment_request": text(&made, "payment_request")?, "max_parts": "16", "fee_limit_sat": 100,
        "timeout_seconds": 60, "allow_self_payment": true, "last_hop_pubkey": base64(forwarder)?,
    });
    // The payer may learn of the second channel with a delay.
    wait_for("a payment over two hops", crate::LIMIT, async || {
        let paid = payer.post("/v2/router/send", &order).await?;
        let lines = paid.lines()?;
        let last = &lines.last().context("the stream has no line")?["result"];
        ensure!(last["status"] == "SUCCEEDED", "{last:#}");
        let hops = last["htlcs"][0]["route"]["hops"].as_array();
        ensure!(hops.is_some_and(|hops| hops.len() == 2), "{last:#}");
        Ok(())
    })
    .await
}

async fn history(node: &Rest, request: &Value) -> Result<Value> {
    let history = node.post("/v1/switch", request).await?.json()?;
    has(&history, &["last_offset_index"])?;
    has(&history, &EVENT)?;
    Ok(history)
}

/// Requests pages of a hundred until one is not full.
async fn rtl(node: &Rest) -> Result<()> {
    let mut request = json!({
        "start_time": 1_700_000_000, "end_time": 4_000_000_000_u32, "num_max_events": 100,
        "index_offset": 0,
    });
    let first = history(node, &request).await?;
    assert_eq!(first["last_offset_index"], 2);
    let events = first["forwarding_events"]
        .as_array()
        .context("forwarding_events is not a list")?;
    assert_eq!(events.len(), 2);
    // A base fee of 1,000 msat plus 1 ppm.
    assert_eq!(events[0]["fee_msat"], "1050");
    assert_eq!(events[0]["amt_out_msat"], "50000000");
    request["index_offset"] = 1.into();
    let second = history(node, &request).await?;
    assert_eq!(
        second["forwarding_events"].as_array().map(Vec::len),
        Some(1)
    );
    let fees = node.get("/v1/fees").await?.json()?;
    assert_eq!(fees["day_fee_sum"], "2");
    Ok(())
}

/// All events of a day, and those of one channel.
async fn zeus(node: &Rest) -> Result<()> {
    let mut request = json!({
        "num_max_events": 10_000_000, "start_time": "1700000000", "end_time": "4000000000",
    });
    let all = history(node, &request).await?;
    let events = all["forwarding_events"]
        .as_array()
        .context("forwarding_events is not a list")?;
    assert_eq!(events.len(), 2);
    let (from, to) = (&events[0]["chan_id_in"], &events[0]["chan_id_out"]);
    request["incoming_chan_ids"] = json!([from]);
    request["outgoing_chan_ids"] = json!([to]);
    assert_eq!(
        history(node, &request).await?["forwarding_events"],
        all["forwarding_events"]
    );
    request["incoming_chan_ids"] = json!([to]);
    assert_eq!(
        history(node, &request).await?["forwarding_events"],
        json!([])
    );
    Ok(())
}
