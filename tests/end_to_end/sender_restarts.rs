//! A sender stops while the receiver holds its shards: after its restart the payments complete, and
//! all attempts are still listed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::invoicesrpc::{
    AddHoldInvoiceRequest, SettleInvoiceMsg, SubscribeSingleInvoiceRequest,
};
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::{SendPaymentRequest, TrackPaymentRequest};
use regtest::api::{Api, amp_to, bolt11, bytes};
use regtest::crash::reconcile::Books;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use tokio::time::timeout;
use tonic::Streaming;

use crate::{SETTLE_LIMIT, binaries};

const CAPACITY_SAT: u64 = 1_000_000;
/// The channel reserve plus what Alice sends to learn the route; Dave can forward almost nothing else.
const DAVE_SAT: u64 = CAPACITY_SAT / 100 + 3_000;
const PROBE_MSAT: u64 = 2_000_000;
/// Exceeds the capacity of Alice's channel with Carol.
const AMP_MSAT: u64 = 1_200_000_000;
const AMP_SHARDS: u64 = 6;
const HELD_MSAT: u64 = 300_000_000;
const HELD_PARTS: u64 = 3;
/// Amount that Dave needs to forward the rest.
const REFILL_MSAT: u64 = 700_000_000;
const PREIMAGE: [u8; 32] = [0x51; 32];
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum End {
    Term,
    Kill,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_complete_after_the_sender_is_stopped() -> Result<()> {
    completed_after(End::Term).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_complete_after_the_sender_is_killed() -> Result<()> {
    completed_after(End::Kill).await
}

/// Bob holds all parts of one payment and some shards of another, which has no route for the rest.
async fn completed_after(end: End) -> Result<()> {
    let mut network = two_routes().await?;
    let total_msat = network.check_balances().await?;
    let held = held_payment(&network).await?;
    let waiting = waiting_payment(&network).await?;

    match end {
        End::Term => {
            let status = network["alice"].stop().await?;
            ensure!(status.success(), "alice exited with {status}");
        }
        End::Kill => network["alice"].kill()?,
    }
    network.restart(&["alice"]).await?;
    network.wait_usable().await?;
    let alice = network["alice"].api()?;
    let mut ends = Vec::new();
    for before in [&held, &waiting] {
        let mut updates = track(&alice, &before.payment_hash).await?;
        let now = next(&mut updates).await?;
        ensure!(now.status() == PaymentStatus::InFlight, "{end:?}: {now:?}");
        has_all_attempts_of(&now, before)?;
        ends.push(updates);
    }

    settle_held(&network["bob"].api()?).await?;
    network
        .pay("bob", &amp_to(network["dave"].key(), REFILL_MSAT)?)
        .await?;
    for (mut updates, before) in ends.into_iter().zip([held, waiting]) {
        let paid = last(&mut updates).await?;
        is_paid(&paid)?;
        has_all_attempts_of(&paid, &before)?;
    }
    network.wait_settled(SETTLE_LIMIT).await?;
    let mut books = Books::default();
    books.wait_ended(&network, LIMIT).await?;
    books.update(&network).await?;
    ensure!(
        network.check_balances().await? == total_msat,
        "the sum of all balances has changed"
    );
    network.finish();
    Ok(())
}

/// Two routes from Alice to Bob: through Carol, and through Dave, who has no balance. Alice knows both.
async fn two_routes() -> Result<Network> {
    let network = Network::with_nodes(binaries(), &["alice", "bob", "carol", "dave"]).await?;
    let plans = [
        ChannelPlan::new("alice", "carol", CAPACITY_SAT),
        ChannelPlan::new("alice", "dave", CAPACITY_SAT),
        ChannelPlan::new("carol", "bob", CAPACITY_SAT),
        ChannelPlan::new("bob", "dave", CAPACITY_SAT).push(DAVE_SAT),
    ];
    network.open(&plans).await?;
    for forwarder in ["carol", "dave"] {
        let request = SendPaymentRequest {
            last_hop_pubkey: bytes(network[forwarder].key())?,
            ..amp_to(network["bob"].key(), PROBE_MSAT)?
        };
        network.pay("alice", &request).await?;
    }
    network.wait_settled(SETTLE_LIMIT).await?;
    Ok(network)
}

/// A multi-part BOLT 11 payment; Bob holds all parts.
async fn held_payment(network: &Network) -> Result<Payment> {
    let bob = network["bob"].api()?;
    let hash = sha256::Hash::hash(&PREIMAGE).to_byte_array().to_vec();
    let invoice = AddHoldInvoiceRequest {
        hash: hash.clone(),
        value_msat: i64::try_from(HELD_MSAT)?,
        ..Default::default()
    };
    let added = bob.invoices.clone().add_hold_invoice(invoice).await?;
    let request = SendPaymentRequest {
        max_shard_size_msat: HELD_MSAT / HELD_PARTS,
        ..bolt11(&added.into_inner().payment_request)
    };
    let follow = SubscribeSingleInvoiceRequest { r_hash: hash };
    let changes = bob
        .invoices
        .clone()
        .subscribe_single_invoice(follow)
        .await?;
    let mut changes = changes.into_inner();
    let payment_hash = start(network, request).await?;
    while next(&mut changes).await?.state() != InvoiceState::Accepted {}
    find(network, &payment_hash).await
}

/// An AMP payment; Bob holds some shards, and attempts for the rest have failed.
async fn waiting_payment(network: &Network) -> Result<Payment> {
    let request = SendPaymentRequest {
        timeout_seconds: 110,
        max_shard_size_msat: AMP_MSAT / AMP_SHARDS,
        ..amp_to(network["bob"].key(), AMP_MSAT)?
    };
    let payment_hash = start(network, request).await?;
    let set_id = bytes(&payment_hash)?;
    wait_for("an incomplete set", LIMIT, async || {
        let payment = find(network, &payment_hash).await?;
        ensure!(
            count(&payment, HtlcStatus::Failed) > 0,
            "no attempt has failed yet"
        );
        let invoices = network["bob"].api()?.invoices(0).await?.invoices;
        let htlcs = invoices.iter().flat_map(|invoice| &invoice.htlcs);
        let mut amps = htlcs.filter_map(|htlc| htlc.amp.as_ref());
        ensure!(amps.any(|amp| amp.set_id == set_id), "Bob holds no shard");
        Ok(payment)
    })
    .await
}

/// Starts a payment by Alice and returns its payment hash or set id.
async fn start(network: &Network, request: SendPaymentRequest) -> Result<String> {
    let mut router = network["alice"].api()?.router;
    let mut updates = router.send_payment_v2(request).await?.into_inner();
    Ok(next(&mut updates).await?.payment_hash)
}

async fn find(network: &Network, payment_hash: &str) -> Result<Payment> {
    let payments = network["alice"].api()?.payments(0).await?.payments;
    let mut payments = payments.into_iter();
    let found = payments.find(|payment| payment.payment_hash == payment_hash);
    found.with_context(|| format!("alice does not know {payment_hash}"))
}

async fn track(api: &Api, payment_hash: &str) -> Result<Streaming<Payment>> {
    let request = TrackPaymentRequest {
        payment_hash: bytes(payment_hash)?,
        no_inflight_updates: false,
    };
    let updates = api.router.clone().track_payment_v2(request).await?;
    Ok(updates.into_inner())
}

async fn next<T>(updates: &mut Streaming<T>) -> Result<T> {
    let update = timeout(LIMIT, updates.message()).await;
    update
        .context("timed out waiting for an update")??
        .context("the stream has ended")
}

async fn last(updates: &mut Streaming<Payment>) -> Result<Payment> {
    loop {
        let payment = next(updates).await?;
        match payment.status() {
            PaymentStatus::InFlight => {}
            PaymentStatus::Succeeded => return Ok(payment),
            other => bail!("{other:?}: {payment:?}"),
        }
    }
}

async fn settle_held(bob: &Api) -> Result<()> {
    let request = SettleInvoiceMsg {
        preimage: PREIMAGE.to_vec(),
    };
    bob.invoices.clone().settle_invoice(request).await?;
    Ok(())
}

fn count(payment: &Payment, status: HtlcStatus) -> usize {
    let attempts = payment.htlcs.iter();
    attempts.filter(|htlc| htlc.status() == status).count()
}

/// Amounts of the attempts in msat, by attempt id.
fn attempts(payment: &Payment) -> BTreeMap<u64, i64> {
    let attempts = payment.htlcs.iter().filter_map(|htlc| {
        let last = htlc.route.as_ref()?.hops.last()?;
        Some((htlc.attempt_id, last.amt_to_forward_msat))
    });
    attempts.collect()
}

fn has_all_attempts_of(payment: &Payment, before: &Payment) -> Result<()> {
    let (now, then) = (attempts(payment), attempts(before));
    let kept = then.iter().filter(|(id, msat)| now.get(id) == Some(msat));
    ensure!(!then.is_empty(), "the payment had no attempts");
    ensure!(
        kept.count() == then.len(),
        "the attempts were {then:?} and are now {now:?}"
    );
    Ok(())
}

/// Checks that the settled attempts add up to the amount, and that none is in flight.
fn is_paid(payment: &Payment) -> Result<()> {
    let settled = payment
        .htlcs
        .iter()
        .filter(|htlc| htlc.status() == HtlcStatus::Succeeded);
    let last = settled.filter_map(|htlc| htlc.route.as_ref()?.hops.last());
    let msat: i64 = last.map(|hop| hop.amt_to_forward_msat).sum();
    ensure!(
        msat == payment.value_msat,
        "{msat} msat of {} are settled",
        payment.value_msat
    );
    let in_flight = count(payment, HtlcStatus::InFlight);
    ensure!(in_flight == 0, "{in_flight} attempts are in flight");
    Ok(())
}
