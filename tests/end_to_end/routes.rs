//! Routes that clients query, build and send over: three routes from Alice to Bob, two of them
//! through a forwarding node.

mod commands;
mod shards;

use anyhow::{Context, Result};
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::{MppRecord, Route};
use lnd_api::proto::routerrpc::{BuildRouteRequest, SendToRouteRequest};
use regtest::api::bytes;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;

use crate::{SETTLE_LIMIT, binaries};

const CAPACITY_SAT: u64 = 1_000_000;
/// The nodes of each route, after Alice.
const ROUTES: [&[&str]; 3] = [&["carol", "bob"], &["dave", "bob"], &["bob"]];

#[tokio::test]
async fn manual_shards_and_payments_use_the_requested_routes() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob", "carol", "dave"]).await?;
    let plans = [
        ChannelPlan::new("alice", "carol", CAPACITY_SAT),
        ChannelPlan::new("carol", "bob", CAPACITY_SAT),
        ChannelPlan::new("alice", "dave", CAPACITY_SAT),
        ChannelPlan::new("dave", "bob", CAPACITY_SAT),
        ChannelPlan::new("alice", "bob", CAPACITY_SAT),
    ];
    network.open(&plans).await?;
    wait_for("all routes to be known", SETTLE_LIMIT, async || {
        for hops in ROUTES {
            build(&network, hops, 1_000, &[1; 32]).await?;
        }
        Ok(())
    })
    .await?;
    shards::three_shards_settle_together(&network).await?;
    shards::invalid_share_fails_its_set(&network).await?;
    failure_at_a_forwarder_is_reported_and_can_be_skipped(&network).await?;
    circular_payment_rebalances_channels(&network).await?;
    commands::output_matches_lncli(&network).await?;
    commands::built_route_pays_at_the_estimated_cost(&network).await?;
    commands::queried_routes_respect_restrictions(&network)?;
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// BuildRoute from Alice over these nodes.
async fn build(network: &Network, hops: &[&str], msat: i64, address: &[u8]) -> Result<Route> {
    let keys = hops.iter().map(|name| bytes(network[name].key()));
    let request = BuildRouteRequest {
        amt_msat: msat,
        hop_pubkeys: keys.collect::<Result<_>>()?,
        payment_addr: address.to_vec(),
        ..Default::default()
    };
    let built = network["alice"].api()?.router.build_route(request).await?;
    built
        .into_inner()
        .route
        .context("BuildRoute returned no route")
}

fn mpp(route: &mut Route) -> Result<&mut MppRecord> {
    let last = route.hops.last_mut().context("the route has no hops")?;
    last.mpp_record
        .as_mut()
        .context("the last hop has no mpp_record")
}

/// Carol is paid a lower fee than she charges.
async fn failure_at_a_forwarder_is_reported_and_can_be_skipped(network: &Network) -> Result<()> {
    let (alice, bob) = (network["alice"].api()?, network["bob"].api()?);
    let invoice = bob.invoice(50_000_000).await?;
    let route = build(network, ROUTES[0], 50_000_000, &invoice.payment_addr).await?;
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
    let failure = failed.failure.context("the attempt has no failure")?;
    assert_eq!(failure.failure_source_index, 1);
    let paid = alice.send_to_route(request(route, false)).await?;
    assert_eq!(paid.status(), HtlcStatus::Succeeded);
    assert!(paid.attempt_id > failed.attempt_id);
    let payments = alice.payments(0).await?.payments;
    let payment = payments.last().context("no payment")?;
    assert_eq!(
        payment.htlcs.len(),
        2,
        "both attempts belong to one payment"
    );
    Ok(())
}

/// Alice pays her own invoice, as when rebalancing channels.
async fn circular_payment_rebalances_channels(network: &Network) -> Result<()> {
    let alice = network["alice"].api()?;
    // The opener pays for pending HTLCs in the commitment.
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
