//! The peer between two ampd nodes: it forwards payments of every kind.

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{amp_to, bolt11};
use regtest::network::Network;
use regtest::node::Software;
use regtest::{demo, manual_amp};

use crate::scene::{ALICE, BOB, CAPACITY_SAT, Hold, all_is_settled, in_the_middle};
use crate::{SETTLE_LIMIT, with_both};

const MSAT: u64 = 60_000_000;
const SHARDS: [u64; 3] = [1, 12, 50];
/// Exceeds the capacity of a single route.
const BOTH_ROUTES_MSAT: u64 = CAPACITY_SAT * 700;
const KEYSEND: u64 = 5_482_373_484;
const MESSAGE: u64 = 34_349_334;

with_both!(peer_forwards_every_kind_of_payment_between_ampd_nodes);

async fn peer_forwards_every_kind_of_payment_between_ampd_nodes(software: Software) -> Result<()> {
    let network = in_the_middle(software).await?;
    for (payer, payee) in [(ALICE, BOB), (BOB, ALICE)] {
        macro_rules! run {
            ($($step:ident),* $(,)?) => {$(
                let name = || format!("{payer} to {payee}: {}", stringify!($step));
                $step(&network, payer, payee).await.with_context(name)?;
            )*};
        }
        run![
            amp_in_shards,
            a_static_invoice_twice,
            bolt11_in_parts,
            keysend_with_a_message,
            hold_invoice_settled_and_canceled,
        ];
    }
    over_both_routes(&network).await?;
    all_is_settled(&network).await?;
    network.finish();
    Ok(())
}

async fn amp_in_shards(network: &Network, payer: &str, payee: &str) -> Result<()> {
    for shards in SHARDS {
        let request = SendPaymentRequest {
            max_shard_size_msat: MSAT / shards,
            max_parts: u32::try_from(shards)?,
            ..amp_to(network[payee].key(), MSAT)?
        };
        let payment = network.pay(payer, &request).await?;
        ensure!(
            arrived(&payment) == usize::try_from(shards)?,
            "{} shards instead of {shards}",
            arrived(&payment)
        );
        demo::prove(&payment, &network[payee].api()?).await?;
        network.wait_settled(SETTLE_LIMIT).await?;
    }
    Ok(())
}

async fn a_static_invoice_twice(network: &Network, payer: &str, payee: &str) -> Result<()> {
    let invoice = network[payee].api()?.static_invoice().await?;
    for _ in 0..2 {
        let before = network[payee].api()?.local_msat().await?;
        let request = SendPaymentRequest {
            amt_msat: i64::try_from(MSAT)?,
            max_shard_size_msat: MSAT / 4,
            ..bolt11(&invoice.payment_request)
        };
        let payment = network.pay(payer, &request).await?;
        demo::prove(&payment, &network[payee].api()?).await?;
        network.wait_settled(SETTLE_LIMIT).await?;
        assert_eq!(network[payee].api()?.local_msat().await?, before + MSAT);
    }
    Ok(())
}

async fn bolt11_in_parts(network: &Network, payer: &str, payee: &str) -> Result<()> {
    let invoice = network[payee].api()?.invoice(MSAT).await?;
    let request = SendPaymentRequest {
        max_shard_size_msat: MSAT / 4,
        ..bolt11(&invoice.payment_request)
    };
    let payment = network.pay(payer, &request).await?;
    assert_eq!(arrived(&payment), 4);
    network.wait_settled(SETTLE_LIMIT).await
}

async fn keysend_with_a_message(network: &Network, payer: &str, payee: &str) -> Result<()> {
    let preimage = manual_amp::random();
    let request = SendPaymentRequest {
        amp: false,
        payment_hash: sha256::Hash::hash(&preimage).to_byte_array().to_vec(),
        dest_custom_records: [(KEYSEND, preimage.to_vec()), (MESSAGE, b"hello".to_vec())].into(),
        ..amp_to(network[payee].key(), MSAT)?
    };
    network.pay(payer, &request).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    let mut invoices = network[payee].api()?.invoices(0).await?.invoices;
    let invoice = invoices.pop().context("no invoice")?;
    let htlc = invoice.htlcs.first().context("no HTLC")?;
    assert_eq!(htlc.custom_records[&MESSAGE], b"hello");
    Ok(())
}

async fn hold_invoice_settled_and_canceled(
    network: &Network,
    payer: &str,
    payee: &str,
) -> Result<()> {
    for settled in [true, false] {
        let hold = Hold::new(network, payee, MSAT).await?;
        let (api, request) = (network[payer].api()?, hold.request());
        let paying = tokio::spawn(async move { api.pay(request).await });
        hold.is_accepted(network, payee).await?;
        let expected = if settled {
            hold.settle(network, payee).await?;
            PaymentStatus::Succeeded
        } else {
            hold.cancel(network, payee).await?;
            PaymentStatus::Failed
        };
        assert_eq!(paying.await??.status(), expected);
        network.wait_settled(SETTLE_LIMIT).await?;
    }
    Ok(())
}

async fn over_both_routes(network: &Network) -> Result<()> {
    let request = amp_to(network[BOB].key(), BOTH_ROUTES_MSAT)?;
    let payment = network.pay(ALICE, &request).await?;
    ensure!(arrived(&payment) >= 2, "the payment used a single route");
    demo::prove(&payment, &network[BOB].api()?).await?;
    Ok(())
}

fn arrived(payment: &Payment) -> usize {
    let attempts = payment.htlcs.iter();
    let arrived = attempts.filter(|attempt| attempt.status() == HtlcStatus::Succeeded);
    arrived.count()
}
