//! Forwarding policies, earned fees and HTLC events.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::hex::DisplayHex;
use lnd_api::proto::lnrpc::failure::FailureCode;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{ForwardingHistoryRequest, ForwardingHistoryResponse};
use lnd_api::proto::routerrpc::htlc_event::{Event, EventType};
use lnd_api::proto::routerrpc::{HtlcEvent, SendPaymentRequest, SubscribeHtlcEventsRequest};
use regtest::api::{bolt11, bytes};
use regtest::network::Network;
use regtest::wait::wait_for;
use serde_json::Value;
use tokio::time::timeout;
use tonic::Streaming;

use super::{cli, number};
use crate::SETTLE_LIMIT;

const PAID_MSAT: u64 = 100_000_000;
/// Carol's policy after the update.
const BASE_FEE_MSAT: u64 = 2_000;
const FEE_PPM: u64 = 500;
const FEE_MSAT: u64 = BASE_FEE_MSAT + PAID_MSAT * FEE_PPM / 1_000_000;
const EVENT_LIMIT: Duration = Duration::from_secs(30);

/// Carol raises her fees and Alice receives the update.
pub(super) async fn policies_reach_the_network(network: &Network, points: &[String]) -> Result<()> {
    let carol = cli(network, "carol");
    let [base, ppm] = [BASE_FEE_MSAT, FEE_PPM].map(|number| number.to_string());
    let one = ["updatechanpolicy", "--fee_rate_ppm", &ppm, &base, "90"];
    let point = ["--chan_point", &points[1]];
    let updated = carol.json(&[&one[..], &point].concat())?;
    assert_eq!(updated["failed_updates"], Value::Array(vec![]));
    let chan_id = number(network, "carol", &points[1]).await?.to_string();
    wait_for(
        "Alice to receive the channel_update",
        SETTLE_LIMIT,
        async || {
            let edge = cli(network, "alice").json(&["getchaninfo", &chan_id])?;
            let of_carol = if edge["node1_pub"] == network["carol"].key() {
                &edge["node1_policy"]
            } else {
                &edge["node2_policy"]
            };
            ensure!(
                of_carol["fee_base_msat"] == base
                    && of_carol["fee_rate_milli_msat"] == ppm
                    && of_carol["time_lock_delta"] == 90,
                "{of_carol}"
            );
            Ok(())
        },
    )
    .await?;
    let report = carol.json(&["feereport"])?;
    let fees = report["channel_fees"].as_array().context("no fees")?;
    assert_eq!(fees.len(), 3, "includes the unannounced channel");
    let changed = fees.iter().find(|one| one["channel_point"] == points[1]);
    let changed = changed.context("the channel is missing in the report")?;
    assert_eq!(changed["chan_id"], chan_id);
    assert_eq!(changed["base_fee_msat"], base);
    assert_eq!(changed["fee_per_mil"], ppm);
    assert_eq!(changed["fee_rate"], 0.0005);
    let others = fees.iter().filter(|one| one["channel_point"] != points[1]);
    assert!(others.into_iter().all(|one| one["base_fee_msat"] == "1000"));
    Ok(())
}

pub(super) fn invalid_policies_are_rejected(network: &Network, points: &[String]) -> Result<()> {
    let carol = cli(network, "carol");
    carol.refused(
        &["updatechanpolicy", "0", "0", "47"],
        "time lock delta of 47 is too small, minimum supported is 48",
    )?;
    let failed = |args: &[&str]| -> Result<Value> {
        let answer = carol.json(&[&["updatechanpolicy", "0", "0", "80"], args].concat())?;
        Ok(answer["failed_updates"].clone())
    };
    let unknown = format!("{}:0", "11".repeat(32));
    let why = failed(&["--chan_point", &unknown])?;
    assert_eq!(why[0]["reason"], "UPDATE_FAILURE_NOT_FOUND");
    assert_eq!(why[0]["outpoint"], unknown);
    let why = failed(&["--chan_point", &points[0], "--max_htlc_msat", "5"])?;
    assert_eq!(why[0]["reason"], "UPDATE_FAILURE_INVALID_PARAMETER");
    let all = failed(&["--min_htlc_msat", "77"])?;
    assert_eq!(all.as_array().map(Vec::len), Some(3), "{all}");
    let report = carol.json(&["feereport"])?;
    let fees = report["channel_fees"].as_array().context("no fees")?;
    let untouched = |one: &Value| one["base_fee_msat"] != "0";
    assert!(
        fees.iter().all(untouched),
        "a rejected update must not change anything: {report}"
    );
    Ok(())
}

async fn listen(network: &Network, name: &str) -> Result<Streaming<HtlcEvent>> {
    let mut router = network[name].api()?.router;
    let request = SubscribeHtlcEventsRequest {};
    let mut events = router.subscribe_htlc_events(request).await?.into_inner();
    let first = next(&mut events).await?;
    assert!(matches!(first.event, Some(Event::SubscribedEvent(_))));
    Ok(events)
}

async fn next(events: &mut Streaming<HtlcEvent>) -> Result<HtlcEvent> {
    let event = timeout(EVENT_LIMIT, events.message()).await;
    event
        .context("timed out waiting for an event")??
        .context("the stream ended")
}

async fn history(
    network: &Network,
    request: ForwardingHistoryRequest,
) -> Result<ForwardingHistoryResponse> {
    let mut lightning = network["carol"].api()?.lightning;
    Ok(lightning.forwarding_history(request).await?.into_inner())
}

/// Alice pays Bob: all three nodes report HTLC events, and Carol records the forward.
pub(super) async fn forward_is_reported_and_recorded(network: &Network) -> Result<()> {
    let mut alice = listen(network, "alice").await?;
    let mut bob = listen(network, "bob").await?;
    let mut carol = listen(network, "carol").await?;
    let invoice = network["bob"].api()?.invoice(PAID_MSAT).await?;
    let paid = network
        .pay("alice", &bolt11(&invoice.payment_request))
        .await?;
    assert_eq!(paid.fee_msat, i64::try_from(FEE_MSAT)?);
    let hops = &paid.htlcs[0].route.as_ref().context("no route")?.hops;
    let (first, second) = (hops[0].chan_id, hops[1].chan_id);

    let sent = next(&mut alice).await?;
    assert_eq!(sent.event_type(), EventType::Send);
    assert_eq!(
        (sent.incoming_channel_id, sent.outgoing_channel_id),
        (0, first)
    );
    let Some(Event::ForwardEvent(sent)) = sent.event else {
        panic!("{sent:?}");
    };
    let info = sent.info.context("the event has no info")?;
    assert_eq!(info.outgoing_amt_msat, PAID_MSAT + FEE_MSAT);
    let route = paid.htlcs[0].route.as_ref().context("no route")?;
    assert_eq!(info.outgoing_timelock, route.total_time_lock);
    let Some(Event::SettleEvent(settled)) = next(&mut alice).await?.event else {
        panic!("not settled");
    };
    assert_eq!(
        settled.preimage.to_lower_hex_string(),
        paid.payment_preimage
    );

    let forwarded = next(&mut carol).await?;
    assert_eq!(forwarded.event_type(), EventType::Forward);
    let channels = (forwarded.incoming_channel_id, forwarded.outgoing_channel_id);
    assert_eq!(channels, (first, second));
    assert!(matches!(forwarded.event, Some(Event::SettleEvent(_))));
    let received = next(&mut bob).await?;
    assert_eq!(received.event_type(), EventType::Receive);
    assert_eq!(received.incoming_channel_id, second);
    assert!(matches!(received.event, Some(Event::SettleEvent(_))));

    kept(network, first, second).await
}

async fn kept(network: &Network, first: u64, second: u64) -> Result<()> {
    let all = ForwardingHistoryRequest {
        peer_alias_lookup: true,
        ..Default::default()
    };
    let listed = wait_for("the forward to be stored", SETTLE_LIMIT, async || {
        let listed = history(network, all.clone()).await?;
        ensure!(listed.forwarding_events.len() == 1, "{listed:?}");
        Ok(listed)
    })
    .await?;
    assert_eq!(listed.last_offset_index, 1);
    let forward = &listed.forwarding_events[0];
    assert_eq!((forward.chan_id_in, forward.chan_id_out), (first, second));
    assert_eq!(
        (forward.amt_out_msat, forward.fee_msat),
        (PAID_MSAT, FEE_MSAT)
    );
    assert_eq!(forward.amt_in_msat, PAID_MSAT + FEE_MSAT);
    assert_eq!(
        (forward.fee, forward.amt_out),
        (FEE_MSAT / 1000, PAID_MSAT / 1000)
    );
    let names = (&*forward.peer_alias_in, &*forward.peer_alias_out);
    assert_eq!(names, ("alice", "bob"));
    assert_eq!(forward.timestamp, forward.timestamp_ns / 1_000_000_000);
    let report = cli(network, "carol").json(&["feereport"])?;
    for sum in ["day_fee_sum", "week_fee_sum", "month_fee_sum"] {
        assert_eq!(report[sum], (FEE_MSAT / 1000).to_string());
    }
    let count = async |request| -> Result<(usize, u32)> {
        let listed = history(network, request).await?;
        Ok((listed.forwarding_events.len(), listed.last_offset_index))
    };
    let by = |incoming, outgoing| ForwardingHistoryRequest {
        incoming_chan_ids: incoming,
        outgoing_chan_ids: outgoing,
        ..Default::default()
    };
    assert_eq!(count(by(vec![first], vec![second])).await?, (1, 1));
    assert_eq!(count(by(vec![second], vec![])).await?, (0, 0));
    let later = ForwardingHistoryRequest {
        index_offset: 1,
        ..Default::default()
    };
    assert_eq!(count(later).await?, (0, 1));
    let past = ForwardingHistoryRequest {
        end_time: forward.timestamp - 60,
        ..Default::default()
    };
    assert_eq!(count(past).await?, (0, 0));
    Ok(())
}

/// Bob does not know the hash and fails the HTLC; Carol passes the failure on.
pub(super) async fn failed_htlcs_are_reported(network: &Network) -> Result<()> {
    let mut alice = listen(network, "alice").await?;
    let mut bob = listen(network, "bob").await?;
    let mut carol = listen(network, "carol").await?;
    let request = SendPaymentRequest {
        dest: bytes(network["bob"].key())?,
        amt_msat: 1_000_000,
        payment_hash: vec![7; 32],
        payment_addr: vec![7; 32],
        final_cltv_delta: 80,
        timeout_seconds: 30,
        fee_limit_sat: 1_000,
        ..Default::default()
    };
    let failed = network["alice"].api()?.pay(request).await?;
    assert_eq!(failed.status(), PaymentStatus::Failed);
    let sent = next(&mut alice).await?;
    assert!(matches!(sent.event, Some(Event::ForwardEvent(_))));
    let back = next(&mut alice).await?;
    assert_eq!(back.event_type(), EventType::Send);
    assert_eq!(back.outgoing_channel_id, sent.outgoing_channel_id);
    assert!(matches!(back.event, Some(Event::ForwardFailEvent(_))));
    let passed_on = next(&mut carol).await?;
    assert_eq!(passed_on.event_type(), EventType::Forward);
    assert!(matches!(passed_on.event, Some(Event::ForwardFailEvent(_))));
    let refused = next(&mut bob).await?;
    assert_eq!(refused.event_type(), EventType::Receive);
    let Some(Event::LinkFailEvent(refused)) = refused.event else {
        panic!("{refused:?}");
    };
    let unknown = FailureCode::IncorrectOrUnknownPaymentDetails;
    assert_eq!(refused.wire_failure(), unknown);
    Ok(())
}
