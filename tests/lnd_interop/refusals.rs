//! Receivers that do not accept spontaneous AMP, or keysend, payments.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::lnrpc::PaymentFailureReason;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{amp_to, bolt11};
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{self, Ampd, Lnd};
use regtest::{demo, manual_amp, trials};

use crate::binaries;
use crate::scene::{CAPACITY_SAT, Scene, amp, prepare};

const MSAT: u64 = 15_000_000;
pub(crate) const KEYSEND: u64 = 5_482_373_484;

pub(crate) fn trials() -> trials::Trials {
    trials![
        ampd_accepts_only_enabled_spontaneous_payments_from_lnd,
        lnd_accepts_only_enabled_spontaneous_payments_from_ampd,
    ]
}

async fn ampd_accepts_only_enabled_spontaneous_payments_from_lnd() -> Result<()> {
    picky(Lnd, Ampd).await
}

async fn lnd_accepts_only_enabled_spontaneous_payments_from_ampd() -> Result<()> {
    picky(Ampd, Lnd).await
}

async fn picky(payer: Software, receivers: Software) -> Result<()> {
    let network = two_receivers(payer, receivers).await?;
    without_amp(Scene::new(&network, "payer", &["no-amp"])).await?;
    without_keysend(Scene::new(&network, "payer", &["no-keysend"])).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn two_receivers(payer: Software, receivers: Software) -> Result<Network> {
    let mut network = Network::start(binaries()).await?;
    let mut nodes = vec![prepare(&network, "payer", payer)?];
    for (name, amp, keysend) in [("no-amp", "false", "true"), ("no-keysend", "true", "false")] {
        let mut node = prepare(&network, name, receivers)?;
        node.set_raw("accept-amp", amp);
        node.set_raw("accept-keysend", keysend);
        nodes.push(node);
    }
    network.add(nodes).await?;
    let plan = |to| ChannelPlan::new("payer", to, CAPACITY_SAT).push(CAPACITY_SAT / 2);
    network.open(&[plan("no-amp"), plan("no-keysend")]).await?;
    Ok(network)
}

async fn without_amp(scene: Scene<'_>) -> Result<()> {
    scene.pays(&keysend(scene)?).await?;
    refused(scene, &amp_to(scene.payee_key(), MSAT)?).await?;

    let invoice = scene.amp_invoice(i64::try_from(MSAT)?).await?;
    let elsewhere = SendPaymentRequest {
        payment_addr: manual_amp::random().to_vec(),
        ..amp(&invoice, 0)
    };
    refused(scene, &elsewhere).await?;
    let payment = scene.pays(&amp(&invoice, 0)).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    assert_eq!(
        scene.lookup(&invoice).await?.amt_paid_msat,
        payment.value_msat
    );

    let ordinary = scene.payee()?.invoice(MSAT).await?;
    scene.pays(&bolt11(&ordinary.payment_request)).await?;
    Ok(())
}

async fn without_keysend(scene: Scene<'_>) -> Result<()> {
    let payment = scene.pays(&amp_to(scene.payee_key(), MSAT)?).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    refused(scene, &keysend(scene)?).await?;
    let ordinary = scene.payee()?.invoice(MSAT).await?;
    scene.pays(&bolt11(&ordinary.payment_request)).await?;
    Ok(())
}

/// Checks that the payee rejects the payment at once and records no invoice.
pub(crate) async fn refused(scene: Scene<'_>, request: &SendPaymentRequest) -> Result<()> {
    let before = scene.payee()?.invoices(0).await?.invoices.len();
    let failed = scene.payment_fails(request).await?;
    assert_eq!(
        failed.failure_reason(),
        PaymentFailureReason::FailureReasonIncorrectPaymentDetails
    );
    let attempt = failed.htlcs.last().context("the payment has no attempt")?;
    let failure = attempt.failure.as_ref().context("no failure")?;
    assert_eq!(failure.failure_source_index, 1);
    let after = scene.payee()?.invoices(0).await?.invoices.len();
    assert_eq!(after, before);
    Ok(())
}

pub(crate) fn keysend(scene: Scene<'_>) -> Result<SendPaymentRequest> {
    let preimage = manual_amp::random();
    Ok(SendPaymentRequest {
        amp: false,
        payment_hash: sha256::Hash::hash(&preimage).to_byte_array().to_vec(),
        dest_custom_records: BTreeMap::from([(KEYSEND, preimage.to_vec())]),
        ..amp_to(scene.payee_key(), MSAT)?
    })
}
