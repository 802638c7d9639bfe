//! AMP payments to a key and to static invoices.

use anyhow::{Result, ensure};
use lnd_api::proto::lnrpc::InvoiceHtlcState;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::amp_to;
use regtest::{demo, manual_amp};

use crate::scene::{Scene, amp};

const MSAT: i64 = 21_000_001;
const SHARDS: usize = 4;
const TIMES: i64 = 5;

pub(super) async fn spontaneous(scene: Scene<'_>) -> Result<()> {
    let request = amp_to(scene.payee_key(), u64::try_from(MSAT)?)?;
    let payment = scene.pays(&request).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    let invoice = scene.newest_invoice().await?;
    assert!(invoice.is_amp && !invoice.is_keysend);
    assert_eq!(invoice.state(), InvoiceState::Settled);
    assert_eq!((invoice.value_msat, invoice.amt_paid_msat), (MSAT, MSAT));
    assert_eq!(invoice.payment_request, "");
    ensure!(
        invoice
            .amp_invoice_state
            .contains_key(&payment.payment_hash)
    );
    Ok(())
}

pub(super) async fn in_shards(scene: Scene<'_>) -> Result<()> {
    let most_msat = u64::try_from(MSAT)?;
    let request = SendPaymentRequest {
        max_shard_size_msat: most_msat,
        ..amp_to(scene.payee_key(), most_msat * u64::try_from(SHARDS)?)?
    };
    let payment = scene.pays(&request).await?;
    let shards = demo::prove(&payment, &scene.payee()?).await?;
    assert_eq!(shards.len(), SHARDS);
    Ok(())
}

pub(super) async fn an_invoice(scene: Scene<'_>) -> Result<()> {
    let invoice = scene.amp_invoice(MSAT).await?;
    let payment = scene.pays(&amp(&invoice, 0)).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    let found = scene.lookup(&invoice).await?;
    assert_eq!(found.state(), InvoiceState::Settled);
    assert_eq!((found.is_amp, found.amt_paid_msat), (true, MSAT));
    let set = &found.amp_invoice_state[&payment.payment_hash];
    assert_eq!(set.state(), InvoiceHtlcState::Settled);
    assert_eq!(set.amt_paid_msat, MSAT);
    Ok(())
}

pub(super) async fn one_invoice_five_times(scene: Scene<'_>) -> Result<()> {
    let invoice = scene.amp_invoice(MSAT).await?;
    let mut last_index = 0;
    for time in 1..=TIMES {
        let payment = scene.pays(&amp(&invoice, 0)).await?;
        demo::prove(&payment, &scene.payee()?).await?;
        let found = scene.lookup(&invoice).await?;
        assert_eq!(found.amt_paid_msat, time * MSAT);
        assert_eq!(i64::try_from(found.amp_invoice_state.len())?, time);
        let index = found.amp_invoice_state[&payment.payment_hash].settle_index;
        ensure!(
            index > last_index,
            "settle index {index} after {last_index}"
        );
        last_index = index;
    }
    Ok(())
}

pub(super) async fn an_invoice_without_amount(scene: Scene<'_>) -> Result<()> {
    let invoice = scene.amp_invoice(0).await?;
    let mut sum = 0;
    for msat in [MSAT, 1_000, 3 * MSAT] {
        scene.pays(&amp(&invoice, msat)).await?;
        sum += msat;
        assert_eq!(scene.lookup(&invoice).await?.amt_paid_msat, sum);
    }
    let without_amount = scene.payer()?.pay(amp(&invoice, 0)).await;
    let without_amount = without_amount.expect_err("the invoice has no amount");
    assert_eq!(
        without_amount.message(),
        "amount must be specified when paying a zero amount invoice"
    );
    Ok(())
}

/// Such a payment does not pay the invoice, but is a spontaneous payment to its node.
pub(super) async fn another_payment_address(scene: Scene<'_>) -> Result<()> {
    let invoice = scene.amp_invoice(MSAT).await?;
    let address = manual_amp::random();
    let request = SendPaymentRequest {
        payment_addr: address.to_vec(),
        ..amp(&invoice, 0)
    };
    let payment = scene.pays(&request).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    let added = scene.newest_invoice().await?;
    assert_eq!(added.payment_addr, address);
    assert_eq!(added.amt_paid_msat, MSAT);
    let untouched = scene.lookup(&invoice).await?;
    assert_eq!(untouched.state(), InvoiceState::Open);
    assert_eq!(untouched.amt_paid_msat, 0);
    Ok(())
}
