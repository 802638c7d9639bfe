//! Routes that callers ask for, build and send over: three ways from Alice to Bob, two of them over
//! a forwarder.

mod commands;
mod shards;

use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::{MppRecord, Route};
use lnd_api::proto::routerrpc::{BuildRouteRequest, SendToRouteRequest};
use anyhow::{Context, Result};
use regtest::api::bytes;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;

use crate::{SETTLE_LIMIT, binaries};

const CAPACITY_SAT: u64 = 1_000_000;
/// The nodes of each way, after Alice.
const WAYS: [&[&str]; 3] = [&["carol", "bob"], &["dave", "bob"], &["bob"]];

#[tokio::test]
async fn hand_made_shards_and_ordinary_payments_take_the_callers_routes() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob", "carol", "dave"]).await?;
    let plans = [
        ChannelPlan::new("alice", "carol", CAPACITY_SAT),
        ChannelPlan::new("carol", "bob", CAPACITY_SAT),
        ChannelPlan::new("alice", "dave", CAPACITY_SAT),
        ChannelPlan::new("dave", "bob", CAPACITY_SAT),
        ChannelPlan::new("alice", "bob", CAPACITY_SAT),
    ];
    network.open(&plans).await?;
    wait_for("all ways to be known", SETTLE_LIMIT, async || {
        for way in WAYS {
            build(&network, way, 1_000, &[1; 32]).await?;
        }
        Ok(())
    })
    .await?;
    shards::three_shards_settle_together(&network).await?;
    shards::a_wrong_share_fails_its_set(&network).await?;
    a_failure_on_the_way_is_told_and_may_be_skipped(&network).await?;
    money_is_moved_in_a_circle(&network).await?;
    commands::what_ampcli_prints_is_what_lncli_prints(&network).await?;
    commands::an_invoice_is_paid_over_a_built_route_at_the_estimated_cost(&network).await?;
    commands::routes_keep_what_is_asked_of_them(&network)?;
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// BuildRoute from Alice over these nodes.
async fn build(network: &Network, way: &[&str], msat: i64, address: &[u8]) -> Result<Route> {
    let keys = way.iter().map(|name| bytes(network[name].key()));
    let request = BuildRouteRequest {
        amt_msat: msat,
        hop_pubkeys: keys.collect::<Result<_>>()?,
        payment_addr: address.to_vec(),
        ..Default::default()
    };
    let built = network["alice"].api()?.router.build_route(request).await?;
    built.into_inner().route.context("no route was built")
}

fn mpp(route: &mut Route) -> Result<&mut MppRecord> {
    let last = route.hops.last_mut().context("no hops")?;
    last.mpp_record.as_mut().context("no mpp_record")
}

/// Carol is given less than she asks for.
async fn a_failure_on_the_way_is_told_and_may_be_skipped(network: &Network) -> Result<()> {
    let (alice, bob) = (network["alice"].api()?, network["bob"].api()?);
    let invoice = bob.invoice(50_000_000).await?;
    let route = build(network, WAYS[0], 50_000_000, &invoice.payment_addr).await?;
    let mut cheap = route.clone();
    cheap.total_amt_msat -= 1;
    let request = |route: Route, skip_temp_err| SendToRouteRequest {
        payment_hash: invoice.r_hash.clone(),
        route: Some(route),
        skip_temp_err,
        ..Default::default()
    };
    let failed = alice.send_to_route(request(cheap, true)).await?;
    assert_eq!(failed.status(), HtlcStatus::Failed);
    let failure = failed.failure.context("no failure")?;
    assert_eq!(failure.failure_source_index, 1);
    let paid = alice.send_to_route(request(route, false)).await?;
    assert_eq!(paid.status(), HtlcStatus::Succeeded);
    assert!(paid.attempt_id > failed.attempt_id);
    let payments = alice.payments(0).await?.payments;
    let payment = payments.last().context("no payment")?;
    assert_eq!(payment.htlcs.len(), 2, "both belong to one payment");
    Ok(())
}

/// Alice pays her own invoice, as those do who balance their channels.
async fn money_is_moved_in_a_circle(network: &Network) -> Result<()> {
    let alice = network["alice"].api()?;
    // Who opened a channel pays for the HTLCs in its commitment as long as they are there.
    network.wait_settled(SETTLE_LIMIT).await?;
    let before = alice.local_msat().await?;
    let invoice = alice.invoice(10_000_000).await?;
    let circle = ["carol", "bob", "alice"];
    let route = build(network, &circle, 10_000_000, &invoice.payment_addr).await?;
    let fees = u64::try_from(route.total_fees_msat)?;
    let request = SendToRouteRequest {
        payment_hash: invoice.r_hash,
        route: Some(route),
        ..Default::default()
    };
    let paid = alice.send_to_route(request).await?;
    assert_eq!(paid.status(), HtlcStatus::Succeeded, "{paid:?}");
    network.wait_settled(SETTLE_LIMIT).await?;
    assert_eq!(alice.local_msat().await?, before - fees);
    Ok(())
}
