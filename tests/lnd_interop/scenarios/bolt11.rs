//! Payments with a single hash for all parts, and expired invoices.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::invoicesrpc::{
    AddHoldInvoiceRequest, CancelInvoiceMsg, SettleInvoiceMsg, SubscribeSingleInvoiceRequest,
};
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Invoice, Payment, PaymentFailureReason};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{amp_to, bolt11, bytes};
use regtest::manual_amp;
use tokio::time::timeout;
use tonic::Streaming;

use crate::SETTLE_LIMIT;
use crate::scene::{Scene, amp};

const MSAT: i64 = 40_000_000;
const PARTS: u64 = 4;

pub(super) async fn in_parts(scene: Scene<'_>) -> Result<()> {
    let most_msat = u64::try_from(MSAT)? / PARTS;
    let invoice = scene.payee()?.invoice(most_msat * PARTS).await?;
    let request = SendPaymentRequest {
        max_shard_size_msat: most_msat,
        ..bolt11(&invoice.payment_request)
    };
    let payment = scene.pays(&request).await?;
    let hash = sha256::Hash::hash(&bytes(&payment.payment_preimage)?);
    assert_eq!(hash.to_byte_array(), *invoice.r_hash);
    let parts = payment.htlcs.iter();
    let arrived = parts.filter(|part| part.status() == HtlcStatus::Succeeded);
    assert_eq!(u64::try_from(arrived.count())?, PARTS);
    let found = scene.lookup(&invoice).await?;
    assert_eq!(found.state(), InvoiceState::Settled);
    assert_eq!((found.amt_paid_msat, found.htlcs.len()), (MSAT, 4));
    Ok(())
}

pub(super) async fn a_hold_invoice_settled_and_canceled(scene: Scene<'_>) -> Result<()> {
    let held = Held::start(scene).await?;
    let settle = SettleInvoiceMsg {
        preimage: held.preimage.to_vec(),
    };
    scene.payee()?.invoices.settle_invoice(settle).await?;
    let paid = held.end().await?;
    assert_eq!(paid.status(), PaymentStatus::Succeeded);
    assert_eq!(bytes(&paid.payment_preimage)?, held_preimage(&paid)?);

    let held = Held::start(scene).await?;
    let cancel = CancelInvoiceMsg {
        payment_hash: held.hash.clone(),
    };
    scene.payee()?.invoices.cancel_invoice(cancel).await?;
    let failed = held.end().await?;
    assert_eq!(failed.status(), PaymentStatus::Failed);
    assert_eq!(
        failed.failure_reason(),
        PaymentFailureReason::FailureReasonIncorrectPaymentDetails
    );
    scene.network.wait_settled(SETTLE_LIMIT).await
}

fn held_preimage(paid: &Payment) -> Result<Vec<u8>> {
    let attempt = paid.htlcs.first().context("no attempt")?;
    Ok(attempt.preimage.clone())
}

/// A payment held by the payee.
struct Held {
    preimage: [u8; 32],
    hash: Vec<u8>,
    updates: Streaming<Payment>,
}

impl Held {
    async fn start(scene: Scene<'_>) -> Result<Self> {
        let preimage = manual_amp::random();
        let hash = sha256::Hash::hash(&preimage).to_byte_array().to_vec();
        let mut invoices = scene.payee()?.invoices;
        let invoice = AddHoldInvoiceRequest {
            hash: hash.clone(),
            value_msat: MSAT,
            ..Default::default()
        };
        let added = invoices.add_hold_invoice(invoice).await?.into_inner();
        let follow = SubscribeSingleInvoiceRequest {
            r_hash: hash.clone(),
        };
        let changes = invoices.subscribe_single_invoice(follow).await?;
        let request = bolt11(&added.payment_request);
        let updates = scene.payer()?.router.send_payment_v2(request).await?;
        let mut changes = changes.into_inner();
        while next(&mut changes).await?.state() != InvoiceState::Accepted {}
        Ok(Self {
            preimage,
            hash,
            updates: updates.into_inner(),
        })
    }

    async fn end(mut self) -> Result<Payment> {
        loop {
            let payment = next(&mut self.updates).await?;
            if payment.status() != PaymentStatus::InFlight {
                return Ok(payment);
            }
        }
    }
}

async fn next<T>(updates: &mut Streaming<T>) -> Result<T> {
    let update = timeout(SETTLE_LIMIT, updates.message()).await;
    update
        .context("timed out waiting for an update")??
        .context("the stream has ended")
}

/// The payer refuses locally; the payee rejects the payment if it is sent anyway.
pub(super) async fn expired_invoices(scene: Scene<'_>) -> Result<()> {
    let mut ordinary = Invoice {
        value_msat: MSAT,
        expiry: 1,
        ..Default::default()
    };
    let bolt11_invoice = scene.add_invoice(ordinary.clone()).await?;
    ordinary.is_amp = true;
    let amp_invoice = scene.add_invoice(ordinary).await?;
    let found = scene.lookup(&amp_invoice).await?;
    let over = Duration::from_secs(u64::try_from(found.creation_date + found.expiry)?);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    // Until the end of that second: invoice expiry can only be awaited.
    tokio::time::sleep((over + Duration::from_secs(1)).saturating_sub(now)).await;

    let payer = scene.payer()?;
    for request in [
        bolt11(&bolt11_invoice.payment_request),
        amp(&amp_invoice, 0),
    ] {
        let refused = payer
            .pay(request)
            .await
            .expect_err("the invoice has expired");
        ensure!(
            refused
                .message()
                .starts_with("invoice expired. Valid until "),
            "{refused}"
        );
    }
    regtest::wait::wait_for("the invoice to expire", SETTLE_LIMIT, async || {
        let state = scene.lookup(&amp_invoice).await?.state();
        ensure!(state == InvoiceState::Canceled, "the state is {state:?}");
        Ok(())
    })
    .await?;
    let without_invoice = SendPaymentRequest {
        payment_addr: amp_invoice.payment_addr.clone(),
        ..amp_to(scene.payee_key(), u64::try_from(MSAT)?)?
    };
    let failed = scene.payment_fails(&without_invoice).await?;
    assert_eq!(
        failed.failure_reason(),
        PaymentFailureReason::FailureReasonIncorrectPaymentDetails
    );
    Ok(())
}
