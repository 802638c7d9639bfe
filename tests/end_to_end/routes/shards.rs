//! Manual AMP payments: the client splits the root and sends each shard itself.

use anyhow::{Context, Result};
use bitcoin::hex::DisplayHex;
use lnd_api::proto::lnrpc::failure::FailureCode;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{HtlcAttempt, Invoice, InvoiceSubscription};
use lnd_api::proto::routerrpc::SendToRouteRequest;
use regtest::manual_amp::{self, Set, last_hop};
use regtest::network::Network;
use tokio::time::timeout;
use tonic::{Code, Streaming};

use super::{ROUTES, build, mpp};
use crate::SETTLE_LIMIT;

const SHARD_MSAT: i64 = 100_000_000;
const TOTAL_MSAT: i64 = 3 * SHARD_MSAT;
const INDICES: [u32; 3] = [0, 1, 2];

async fn request(network: &Network, set: &Set, number: usize) -> Result<SendToRouteRequest> {
    let route = build(network, ROUTES[number], SHARD_MSAT, &set.address).await?;
    set.request(number, route)
}

/// Follows lnd's own test: the invoice appears with the first shard and is settled with the last.
pub(super) async fn three_shards_settle_together(network: &Network) -> Result<()> {
    let (alice, bob) = (network["alice"].api()?, network["bob"].api()?);
    let all = InvoiceSubscription::default();
    let mut events = bob.lightning.clone().subscribe_invoices(all).await?;
    let events = events.get_mut();
    let set = Set::new(manual_amp::random(), TOTAL_MSAT, &INDICES)?;
    let requests = [
        request(network, &set, 0).await?,
        request(network, &set, 1).await?,
        request(network, &set, 2).await?,
    ];
    let (payer, request) = (alice.clone(), requests[0].clone());
    let first = tokio::spawn(async move { payer.send_to_route(request).await });
    let added = next(events).await?;
    assert_eq!(added.state(), InvoiceState::Open);
    assert_eq!(added.payment_addr, set.address);
    assert_eq!((added.amt_paid_msat, added.htlcs.len()), (0, 0));

    let mut other_total = requests[1].clone();
    mpp(other_total
        .route
        .as_mut()
        .context("the request has no route")?)?
    .total_amt_msat += 1;
    let refused = alice
        .send_to_route(other_total)
        .await
        .expect_err("a different total was accepted");
    assert_eq!(refused.message(), "mp payment total amount mismatch");

    let (second, third) = tokio::try_join!(
        alice.send_to_route(requests[1].clone()),
        alice.send_to_route(requests[2].clone())
    )?;
    let first = first.await??;
    for (index, attempt) in [first, second, third].iter().enumerate() {
        settled_as(attempt, &set, index)?;
    }
    let settled = next(events).await?;
    assert_eq!(settled.state(), InvoiceState::Settled);
    assert_eq!(
        (settled.amt_paid_msat, settled.htlcs.len()),
        (TOTAL_MSAT, 3)
    );

    let payment = alice.payments(0).await?.payments.pop();
    let payment = payment.context("no payment")?;
    assert_eq!(payment.payment_hash, set.set_id.to_lower_hex_string());
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
    assert_eq!((payment.value_msat, payment.htlcs.len()), (TOTAL_MSAT, 3));

    let again = alice.send_to_route(requests[0].clone()).await;
    let again = again.expect_err("a shard of a settled set was sent");
    let paid = (Code::AlreadyExists, "invoice is already paid");
    assert_eq!((again.code(), again.message()), paid);
    Ok(())
}

fn settled_as(attempt: &HtlcAttempt, set: &Set, index: usize) -> Result<()> {
    assert_eq!(attempt.status(), HtlcStatus::Succeeded, "{attempt:?}");
    assert_eq!(attempt.preimage, set.shards[index].preimage);
    let route = attempt.route.as_ref().context("no route")?;
    assert_eq!(route.hops.len(), ROUTES[index].len());
    let last = route.hops.last().context("no hops")?;
    let record = last.amp_record.as_ref().context("no AMP record")?;
    assert_eq!(record.child_index, INDICES[index]);
    assert_eq!(record.root_share, set.shards[index].share);
    Ok(())
}

pub(super) async fn invalid_share_fails_its_set(network: &Network) -> Result<()> {
    let alice = network["alice"].api()?;
    let set = Set::new(manual_amp::random(), TOTAL_MSAT, &INDICES)?;
    let mut requests = Vec::new();
    for number in 0..INDICES.len() {
        requests.push(request(network, &set, number).await?);
    }
    let record = last_hop(&mut requests[2])?.amp_record.as_mut();
    record.context("no AMP record")?.root_share[0] ^= 1;
    let sent = requests
        .into_iter()
        .map(|request| alice.send_to_route(request));
    for (index, attempt) in futures_util::future::try_join_all(sent)
        .await?
        .iter()
        .enumerate()
    {
        assert_eq!(attempt.status(), HtlcStatus::Failed);
        let failure = attempt.failure.as_ref().context("no failure")?;
        let code = FailureCode::IncorrectOrUnknownPaymentDetails;
        assert_eq!(failure.code(), code);
        let source = usize::try_from(failure.failure_source_index)?;
        assert_eq!(source, ROUTES[index].len());
    }
    let payment = alice.payments(0).await?.payments.pop();
    let payment = payment.context("no payment")?;
    assert_eq!(payment.payment_hash, set.set_id.to_lower_hex_string());
    assert_eq!(payment.status(), PaymentStatus::Failed);
    Ok(())
}

async fn next(events: &mut Streaming<Invoice>) -> Result<Invoice> {
    let message = timeout(SETTLE_LIMIT, events.message()).await;
    message
        .context("timed out waiting for an event")??
        .context("the stream has ended")
}
