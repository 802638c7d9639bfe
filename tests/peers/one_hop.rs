//! Direct channels between ampd and the peer: every kind of payment, in both directions.

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::lnrpc::PaymentFailureReason;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{amp_to, bolt11, bytes};
use regtest::manual_amp;
use regtest::network::Network;
use regtest::node::Software;
use regtest::wait::wait_for;

use crate::scene::{
    ALICE, CAPACITY_SAT, Hold, PEER, all_is_settled, failed, hash_of, neighbours, pays, peer,
    peer_pays, peer_received, spawn_peer_payment, succeeded,
};
use crate::{SETTLE_LIMIT, with_both};

const MSAT: u64 = 40_000_000;
/// Exceeds the local balance of one channel: each end owns half of it.
const BOTH_CHANNELS_MSAT: u64 = CAPACITY_SAT * 700;
/// The record with a keysend payment's preimage.
const KEYSEND: u64 = 5_482_373_484;

with_both!(
    every_kind_of_payment_works_in_both_directions,
    commitment_feerate_follows_update_fee
);

async fn every_kind_of_payment_works_in_both_directions(software: Software) -> Result<()> {
    let network = neighbours(software).await?;
    macro_rules! run {
        ($($step:ident),* $(,)?) => {$(
            $step(&network).await.context(stringify!($step))?;
        )*};
    }
    run![
        bolt11_to_the_peer,
        bolt11_from_the_peer,
        without_an_amount,
        keysend_to_the_peer,
        keysend_from_the_peer,
        over_both_channels,
        hold_invoice_settled_and_canceled,
        amp_is_rejected_and_nothing_is_lost,
        sixty_payments_at_once,
    ];
    all_is_settled(&network).await?;
    network.finish();
    Ok(())
}

async fn bolt11_to_the_peer(network: &Network) -> Result<()> {
    let invoice = peer(network)?.invoice(Some(MSAT), false).await?;
    pays(network, ALICE, &bolt11(&invoice)).await?;
    peer_received(network, &hash_of(&invoice)?, MSAT).await
}

async fn bolt11_from_the_peer(network: &Network) -> Result<()> {
    let before = network[ALICE].api()?.local_msat().await?;
    let invoice = network[ALICE].api()?.invoice(MSAT).await?;
    peer_pays(network, &invoice.payment_request, None).await?;
    assert_eq!(network[ALICE].api()?.local_msat().await?, before + MSAT);
    Ok(())
}

async fn without_an_amount(network: &Network) -> Result<()> {
    let invoice = peer(network)?.invoice(None, false).await?;
    let request = SendPaymentRequest {
        amt_msat: i64::try_from(MSAT)?,
        ..bolt11(&invoice)
    };
    pays(network, ALICE, &request).await?;
    peer_received(network, &hash_of(&invoice)?, MSAT).await?;
    let invoice = network[ALICE].api()?.invoice(0).await?;
    peer_pays(network, &invoice.payment_request, Some(MSAT)).await
}

async fn keysend_to_the_peer(network: &Network) -> Result<()> {
    let preimage = manual_amp::random();
    let hash = sha256::Hash::hash(&preimage);
    let request = SendPaymentRequest {
        amp: false,
        payment_hash: hash.to_byte_array().to_vec(),
        dest_custom_records: [(KEYSEND, preimage.to_vec())].into(),
        ..amp_to(network[PEER].key(), MSAT)?
    };
    pays(network, ALICE, &request).await?;
    peer_received(network, &hash.to_string(), MSAT).await
}

async fn keysend_from_the_peer(network: &Network) -> Result<()> {
    let before = network[ALICE].api()?.local_msat().await?;
    let paid = peer(network)?.keysend(network[ALICE].key(), MSAT).await?;
    succeeded(paid)?;
    network.wait_settled(SETTLE_LIMIT).await?;
    assert_eq!(network[ALICE].api()?.local_msat().await?, before + MSAT);
    Ok(())
}

/// A multi-part payment, since no channel can carry it alone.
async fn over_both_channels(network: &Network) -> Result<()> {
    let invoice = peer(network)?
        .invoice(Some(BOTH_CHANNELS_MSAT), false)
        .await?;
    let payment = network.pay(ALICE, &bolt11(&invoice)).await?;
    let parts = payment.htlcs.iter();
    let arrived = parts.filter(|part| part.status() == HtlcStatus::Succeeded);
    ensure!(
        arrived.count() >= 2,
        "the payment used a single channel: {payment:?}"
    );
    peer_received(network, &hash_of(&invoice)?, BOTH_CHANNELS_MSAT).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    let invoice = network[ALICE].api()?.invoice(BOTH_CHANNELS_MSAT).await?;
    peer_pays(network, &invoice.payment_request, None).await
}

async fn hold_invoice_settled_and_canceled(network: &Network) -> Result<()> {
    let hold = Hold::new(network, ALICE, MSAT).await?;
    let paying = spawn_peer_payment(network, &hold)?;
    hold.is_accepted(network, ALICE).await?;
    hold.settle(network, ALICE).await?;
    assert_eq!(bytes(&succeeded(paying.await??)?)?, hold.preimage);

    let hold = Hold::new(network, ALICE, MSAT).await?;
    let paying = spawn_peer_payment(network, &hold)?;
    hold.is_accepted(network, ALICE).await?;
    hold.cancel(network, ALICE).await?;
    let why = failed(paying.await??)?;
    ensure!(
        crate::refusals::is_unknown_or_incorrect(&why),
        "the peer's error is {why}"
    );
    network.wait_settled(SETTLE_LIMIT).await
}

/// Neither program supports AMP.
async fn amp_is_rejected_and_nothing_is_lost(network: &Network) -> Result<()> {
    let before = network[ALICE].api()?.local_msat().await?;
    let request = amp_to(network[PEER].key(), MSAT)?;
    let payment = network[ALICE].api()?.pay(request).await?;
    assert_eq!(payment.status(), PaymentStatus::Failed);
    assert_ne!(
        payment.failure_reason(),
        PaymentFailureReason::FailureReasonTimeout
    );
    network.wait_settled(SETTLE_LIMIT).await?;
    assert_eq!(network[ALICE].api()?.local_msat().await?, before);
    let invoice = network[ALICE].api()?.static_invoice().await?;
    let paid = peer(network)?
        .pay(&invoice.payment_request, Some(MSAT))
        .await?;
    failed(paid).map(drop)
}

async fn sixty_payments_at_once(network: &Network) -> Result<()> {
    let before = network[ALICE].api()?.local_msat().await?;
    let mut invoices = Vec::new();
    for _ in 0..60 {
        let invoice = network[ALICE].api()?.invoice(1_000_000).await?;
        invoices.push(invoice.payment_request);
    }
    let payments = invoices
        .iter()
        .map(|invoice| peer_pays_one(network, invoice));
    futures_util::future::try_join_all(payments).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    let after = network[ALICE].api()?.local_msat().await?;
    assert_eq!(after, before + 60_000_000);
    Ok(())
}

async fn peer_pays_one(network: &Network, invoice: &str) -> Result<()> {
    succeeded(peer(network)?.pay(invoice, None).await?).map(drop)
}

/// The peer lowers and raises the commitment feerate of the channel that it opened.
async fn commitment_feerate_follows_update_fee(software: Software) -> Result<()> {
    let mut network = neighbours(software).await?;
    for sat_per_kw in [1_000, 2_000] {
        set_fee_rate(&mut network, sat_per_kw)?;
        network[PEER].stop().await?;
        network.restart(&[PEER]).await?;
        network.wait_usable().await?;
        wait_for("the new fee rate", SETTLE_LIMIT, async || {
            let channels = network[ALICE].api()?.channels().await?;
            let theirs = channels.iter().find(|channel| !channel.initiator);
            let rate = theirs.context("no channel")?.fee_per_kw;
            ensure!(rate == sat_per_kw, "the feerate is {rate} sat/kw");
            Ok(())
        })
        .await?;
        bolt11_to_the_peer(&network).await?;
        bolt11_from_the_peer(&network).await?;
        all_is_settled(&network).await?;
    }
    network.finish();
    Ok(())
}

/// Applies from the peer's next start on.
fn set_fee_rate(network: &mut Network, sat_per_kw: i64) -> Result<()> {
    let peer = &mut network[PEER];
    if peer.software() == Software::CoreLightning {
        peer.set_raw("force-feerates", &sat_per_kw.to_string());
        return Ok(());
    }
    let sat_per_byte = (sat_per_kw / 250).to_string();
    for speed in ["slow", "medium", "fast", "fastest"] {
        let key = format!("eclair.on-chain-fees.default-feerates.{speed}");
        peer.set_raw(&key, &sat_per_byte);
    }
    Ok(())
}
