//! AMP over three routes.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::{Invoice, InvoiceHtlcState, Payment};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::amp_to;
use regtest::demo;
use regtest::manual_amp::{self, Set};
use regtest::network::Network;

use super::events::Events;
use super::topology::{AMOUNT_MSAT, MIN_SHARDS, ROUTES, SHARD_MSAT, scene};
use crate::manual_shards::{in_order, settled};
use crate::scene::{Scene, amp};

pub(super) async fn an_invoice(network: &Network) -> Result<()> {
    let scene = scene(network);
    let mut events = Events::follow(&scene.payee()?).await?;
    let invoice = scene.amp_invoice(AMOUNT_MSAT).await?;
    events.opened(&invoice.payment_addr).await?;
    let payment = scene.pays(&amp(&invoice, 0)).await?;
    is_paid_in_shards(scene, &payment, events.settled().await?).await
}

/// The payment goes to a new invoice created by its first shard.
pub(super) async fn an_invoice_with_another_payment_address(network: &Network) -> Result<()> {
    let scene = scene(network);
    let mut events = Events::follow(&scene.payee()?).await?;
    let invoice = scene.amp_invoice(AMOUNT_MSAT).await?;
    events.opened(&invoice.payment_addr).await?;
    let address = manual_amp::random();
    let request = SendPaymentRequest {
        payment_addr: address.to_vec(),
        ..amp(&invoice, 0)
    };
    let payment = scene.pays(&request).await?;
    events.opened(&address).await?;
    is_paid_in_shards(scene, &payment, events.settled().await?).await?;
    assert_eq!(scene.lookup(&invoice).await?.state(), InvoiceState::Open);
    Ok(())
}

pub(super) async fn to_a_key(network: &Network) -> Result<()> {
    let scene = scene(network);
    let before = scene.payee()?.invoices(0).await?.invoices.len();
    let request = amp_to(scene.payee_key(), u64::try_from(AMOUNT_MSAT)?)?;
    let payment = scene.pays(&request).await?;
    for attempt in &payment.htlcs {
        let hops = &attempt
            .route
            .as_ref()
            .context("the attempt has no route")?
            .hops;
        let (last, others) = hops.split_last().context("the route has no hops")?;
        ensure!(last.amp_record.is_some(), "no AMP record for the payee");
        ensure!(others.iter().all(|hop| hop.amp_record.is_none()));
    }
    let invoices = scene.payee()?.invoices(0).await?.invoices;
    assert_eq!(invoices.len(), before + 1);
    is_paid_in_shards(scene, &payment, scene.newest_invoice().await?).await
}

/// Checks the invoice event, and that the payee lists the same.
async fn is_paid_in_shards(scene: Scene<'_>, payment: &Payment, event: Invoice) -> Result<()> {
    let shards = demo::prove(payment, &scene.payee()?).await?;
    ensure!(shards.len() >= MIN_SHARDS, "{} shards", shards.len());
    let listed = scene.newest_invoice().await?;
    assert_eq!(in_order(event.clone()), in_order(listed));
    assert_eq!(event.state(), InvoiceState::Settled);
    assert_eq!(event.amt_paid_msat, AMOUNT_MSAT);
    assert_eq!(event.htlcs.len(), shards.len());
    assert_eq!(event.amp_invoice_state.len(), 1);
    let set = event.amp_invoice_state.get(&payment.payment_hash);
    let set = set.context("the invoice has no set of this payment")?;
    assert_eq!(set.state(), InvoiceHtlcState::Settled);
    Ok(())
}

pub(super) async fn shards_over_given_routes(network: &Network) -> Result<()> {
    let (scene, payer) = (scene(network), network["alice"].api()?);
    let mut events = Events::follow(&scene.payee()?).await?;
    let set = Set::new(manual_amp::random(), AMOUNT_MSAT, &[0, 1, 2])?;
    let mut requests = Vec::new();
    for (number, hops) in ROUTES.into_iter().enumerate() {
        let route = Scene::new(network, "alice", hops).route(SHARD_MSAT).await?;
        requests.push(set.request(number, route)?);
    }
    let rest = requests.split_off(1);
    let first = scene.start(requests.remove(0))?;
    events.opened(&set.address).await?;
    let rest = rest.into_iter().map(|request| payer.send_to_route(request));
    let rest = try_join_all(rest).await?;
    let attempts = [vec![first.await??], rest].concat();
    for (attempt, shard) in attempts.iter().zip(&set.shards) {
        settled(attempt, shard);
    }
    let event = events.settled().await?;
    let listed = scene.newest_invoice().await?;
    assert_eq!(in_order(event.clone()), in_order(listed));
    assert_eq!(event.payment_addr, set.address);
    assert_eq!(event.amt_paid_msat, AMOUNT_MSAT);
    holds_all_shards(&event, &set)
}

fn holds_all_shards(invoice: &Invoice, set: &Set) -> Result<()> {
    assert_eq!(invoice.htlcs.len(), set.shards.len());
    for shard in &set.shards {
        let mut amps = invoice.htlcs.iter().filter_map(|htlc| htlc.amp.as_ref());
        let amp = amps.find(|amp| amp.child_index == shard.index);
        let amp = amp.context("a shard is missing")?;
        assert_eq!(
            (&amp.set_id[..], &amp.hash[..]),
            (&set.set_id[..], &shard.hash[..])
        );
        assert_eq!(amp.preimage, shard.preimage);
    }
    Ok(())
}
