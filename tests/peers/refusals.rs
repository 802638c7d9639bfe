//! Payments that must fail: the other end gets the right error, and no funds are lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Invoice, PaymentFailureReason};
use regtest::api::{bolt11, bytes};
use regtest::network::Network;
use regtest::node::Software;
use serde_json::json;

use crate::scene::{
    ALICE, Hold, PEER, all_is_settled, failed, hash_of, neighbours, peer, peer_pays,
};
use crate::{SETTLE_LIMIT, with_both};

const MSAT: u64 = 20_000_000;

with_both!(rejected_payments_lose_no_funds);

/// Whether a program's error text means incorrect_or_unknown_payment_details (BOLT 4: PERM|15).
pub(crate) fn is_unknown_or_incorrect(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("incorrect_or_unknown_payment_details")
        || words.contains("incorrect payment details")
        || words.contains("incorrect amount, expiry or unknown")
        || words.contains("incorrect or unknown payment details")
        || words.contains("unknown payment hash")
}

async fn rejected_payments_lose_no_funds(software: Software) -> Result<()> {
    let network = neighbours(software).await?;
    let before = network[ALICE].api()?.local_msat().await?;
    canceled_by_ampd(&network).await.context("canceled")?;
    paid_already_by_the_peer(&network)
        .await
        .context("paid already")?;
    let before = before + MSAT;
    expired_at_ampd(&network).await.context("expired")?;
    unknown_to_the_peer(&network).await.context("unknown")?;
    all_is_settled(&network).await?;
    assert_eq!(network[ALICE].api()?.local_msat().await?, before);
    network.finish();
    Ok(())
}

async fn canceled_by_ampd(network: &Network) -> Result<()> {
    let hold = Hold::new(network, ALICE, MSAT).await?;
    hold.cancel(network, ALICE).await?;
    let why = failed(peer(network)?.pay(&hold.payment_request, None).await?)?;
    ensure!(is_unknown_or_incorrect(&why), "the peer's error is {why}");
    Ok(())
}

/// Nothing is paid twice. Core Lightning returns the first preimage for the second request.
async fn paid_already_by_the_peer(network: &Network) -> Result<()> {
    let invoice = network[ALICE].api()?.invoice(MSAT).await?.payment_request;
    peer_pays(network, &invoice, None).await?;
    let before = network[ALICE].api()?.local_msat().await?;
    let again = peer(network)?.pay(&invoice, None).await?;
    if network[PEER].software() == Software::Eclair {
        failed(again)?;
    }
    network.wait_settled(SETTLE_LIMIT).await?;
    assert_eq!(network[ALICE].api()?.local_msat().await?, before);
    Ok(())
}

async fn expired_at_ampd(network: &Network) -> Result<()> {
    let invoice = Invoice {
        value_msat: i64::try_from(MSAT)?,
        expiry: 1,
        ..Default::default()
    };
    let mut lightning = network[ALICE].api()?.lightning;
    let added = lightning.add_invoice(invoice).await?.into_inner();
    // Invoice expiry can only be awaited.
    tokio::time::sleep(Duration::from_secs(3)).await;
    failed(peer(network)?.pay(&added.payment_request, None).await?).map(drop)
}

/// An invoice that the peer has deleted.
async fn unknown_to_the_peer(network: &Network) -> Result<()> {
    let invoice = peer(network)?.invoice(Some(MSAT), false).await?;
    delete(network, &invoice).await?;
    let payment = network[ALICE].api()?.pay(bolt11(&invoice)).await?;
    assert_eq!(payment.status(), PaymentStatus::Failed);
    assert_eq!(
        payment.failure_reason(),
        PaymentFailureReason::FailureReasonIncorrectPaymentDetails
    );
    let hash = bytes(&hash_of(&invoice)?)?;
    assert_eq!(bytes(&payment.payment_hash)?, hash);
    Ok(())
}

async fn delete(network: &Network, invoice: &str) -> Result<()> {
    let (api, hash) = (peer(network)?, hash_of(invoice)?);
    if network[PEER].software() == Software::Eclair {
        let parameters = json!({ "paymentHash": hash });
        return api.call("deleteinvoice", parameters).await.map(drop);
    }
    let found = json!({ "payment_hash": hash });
    let found = api.call("listinvoices", found).await?;
    let label = &found["invoices"][0]["label"];
    let parameters = json!({ "label": label, "status": "unpaid" });
    api.call("delinvoice", parameters).await.map(drop)
}
