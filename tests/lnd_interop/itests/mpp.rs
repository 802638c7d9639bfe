//! Multi-part payments with a single hash over three routes.

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use futures_util::future::try_join_all;
use lnd_api::proto::invoicesrpc::SubscribeSingleInvoiceRequest;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{InvoiceHtlcState, MppRecord, Payment};
use lnd_api::proto::routerrpc::SendToRouteRequest;
use regtest::api::{bolt11, bytes};
use regtest::manual_amp::last_hop;
use regtest::network::Network;

use super::events::next;
use super::topology::{AMOUNT_MSAT, MIN_SHARDS, ROUTES, SHARD_MSAT, scene};
use crate::scene::Scene;

pub(super) async fn an_invoice(network: &Network) -> Result<()> {
    let scene = scene(network);
    let invoice = scene.payee()?.invoice(u64::try_from(AMOUNT_MSAT)?).await?;
    let payment = scene.pays(&bolt11(&invoice.payment_request)).await?;
    let hash = sha256::Hash::hash(&bytes(&payment.payment_preimage)?);
    assert_eq!(hash.to_byte_array(), *invoice.r_hash);
    let arrived = parts_that_arrived(&payment);
    ensure!(arrived >= MIN_SHARDS, "{arrived} parts");
    let found = scene.lookup(&invoice).await?;
    assert_eq!(found.state(), InvoiceState::Settled);
    assert_eq!(found.amt_paid_msat, AMOUNT_MSAT);
    let settled = found.htlcs.iter();
    let settled = settled.filter(|htlc| htlc.state() == InvoiceHtlcState::Settled);
    assert_eq!(settled.count(), arrived);
    Ok(())
}

pub(super) async fn parts_over_given_routes(network: &Network) -> Result<()> {
    let (scene, payer) = (scene(network), network["alice"].api()?);
    let invoice = scene.payee()?.invoice(u64::try_from(AMOUNT_MSAT)?).await?;
    let follow = SubscribeSingleInvoiceRequest {
        r_hash: invoice.r_hash.clone(),
    };
    let mut invoices = scene.payee()?.invoices;
    let mut events = invoices
        .subscribe_single_invoice(follow)
        .await?
        .into_inner();
    let mut requests = Vec::new();
    for hops in ROUTES {
        let route = Scene::new(network, "alice", hops).route(SHARD_MSAT).await?;
        let mut request = SendToRouteRequest {
            payment_hash: invoice.r_hash.clone(),
            route: Some(route),
            ..Default::default()
        };
        last_hop(&mut request)?.mpp_record = Some(MppRecord {
            payment_addr: invoice.payment_addr.clone(),
            total_amt_msat: AMOUNT_MSAT,
        });
        requests.push(request);
    }
    let sent = requests
        .into_iter()
        .map(|request| payer.send_to_route(request));
    for attempt in try_join_all(sent).await? {
        assert_eq!(attempt.status(), HtlcStatus::Succeeded, "{attempt:?}");
        let hash = sha256::Hash::hash(&attempt.preimage).to_byte_array();
        assert_eq!(hash, *invoice.r_hash);
    }
    let payment = payer.payments(0).await?.payments.pop();
    let payment = payment.context("no payment")?;
    assert_eq!(bytes(&payment.payment_hash)?, invoice.r_hash);
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
    assert_eq!(parts_that_arrived(&payment), ROUTES.len());
    loop {
        let update = next(&mut events).await?;
        if update.state() == InvoiceState::Settled {
            assert_eq!(
                (update.amt_paid_msat, update.htlcs.len()),
                (AMOUNT_MSAT, ROUTES.len())
            );
            return Ok(());
        }
    }
}

fn parts_that_arrived(payment: &Payment) -> usize {
    let parts = payment.htlcs.iter();
    parts
        .filter(|part| part.status() == HtlcStatus::Succeeded)
        .count()
}
