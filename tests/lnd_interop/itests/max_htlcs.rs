//! A channel full of held HTLCs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lnd_api::proto::invoicesrpc::CancelInvoiceMsg;
use lnd_api::proto::lnrpc::PaymentFailureReason;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::amp_to;
use regtest::manual_amp::Set;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::Ampd;

use crate::binaries;
use crate::manual_shards::address;
use crate::scene::{CAPACITY_SAT, Scene};

/// Maximum number of HTLCs that a peer can add to a channel with Lisa.
const HTLCS: usize = 5;
const MSAT: i64 = 10_000_000;
/// Much less than the payment timeout.
const FAIL_LIMIT: Duration = Duration::from_secs(10);
/// lnd limits only what others add, not itself, so Lena pays through another lnd.
pub(super) const ROUTES: [(&str, &[&str]); 2] =
    [("alice", &["lisa"]), ("lena", &["lisa", "alice"])];

pub(super) async fn open() -> Result<Network> {
    let mut network = Network::start(binaries()).await?;
    let mut lisa = network.prepare_lnd("lisa")?;
    lisa.set("default-remote-max-htlcs", &HTLCS.to_string());
    let mut alice = network.prepare("alice")?;
    alice.set_raw("accept-amp", "true");
    let lena = network.prepare_lnd("lena")?;
    network.add(vec![lisa, alice, lena]).await?;
    let plans = [("alice", "lisa"), ("lena", "lisa")]
        .map(|(from, to)| ChannelPlan::new(from, to, CAPACITY_SAT).push(CAPACITY_SAT / 2));
    network.open(&plans).await?;
    Ok(network)
}

pub(super) async fn a_full_channel(scene: Scene<'_>) -> Result<()> {
    let msat = u64::try_from(MSAT)?;
    let request = SendPaymentRequest {
        max_parts: 10,
        ..amp_to(scene.payee_key(), msat)?
    };
    scene.pays(&request).await?;
    let total_msat = MSAT * i64::try_from(HTLCS + 1)?;
    let invoice = scene.amp_invoice(total_msat).await?;
    let set = Set::new(address(&invoice)?, total_msat, &[0, 1, 2, 3, 4, 5])?;
    let mut held = Vec::new();
    for number in 0..HTLCS {
        held.push(scene.start(set.request(number, scene.route(MSAT).await?)?)?);
    }
    scene.wait_held(&set, HTLCS).await?;

    let start = Instant::now();
    let failed = scene.payer()?.pay(request.clone()).await?;
    ensure!(
        start.elapsed() < FAIL_LIMIT,
        "the payment took {:?} to fail",
        start.elapsed()
    );
    assert_eq!(failed.status(), PaymentStatus::Failed, "{failed:?}");
    assert_eq!(failed.htlcs.len(), 0);
    assert_eq!(failed.failure_reason(), no_route_reason(scene));

    the_other_direction_is_free(scene).await?;
    let cancel = CancelInvoiceMsg {
        payment_hash: invoice.r_hash,
    };
    scene.payee()?.invoices.cancel_invoice(cancel).await?;
    for attempt in held {
        scene.refused(&attempt.await??)?;
    }
    scene.pays(&request).await?;
    Ok(())
}

async fn the_other_direction_is_free(scene: Scene<'_>) -> Result<()> {
    let neighbour = scene.hops.first().context("the route has no hops")?;
    let back = amp_to(scene.network[scene.payer].key(), u64::try_from(MSAT)?)?;
    scene.network.pay(neighbour, &back).await?;
    Ok(())
}

/// lnd reports unavailable liquidity as insufficient balance.
fn no_route_reason(scene: Scene<'_>) -> PaymentFailureReason {
    match scene.network[scene.payer].software() {
        Ampd => PaymentFailureReason::FailureReasonNoRoute,
        _ => PaymentFailureReason::FailureReasonInsufficientBalance,
    }
}
