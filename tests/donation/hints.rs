//! Route hints in the page's invoice of a private node: they follow its channels.

use ampd::invoices::decode::DecodedInvoice;
use anyhow::{Context, Result, ensure};
use lnd_api::proto::ampdrpc::DonationPageRequest;
use lnd_api::proto::lnrpc::policy_update_request::Scope;
use lnd_api::proto::lnrpc::{CloseChannelRequest, FeeReportRequest, PolicyUpdateRequest};
use regtest::api::bolt11;
use regtest::channel_point::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::trials;
use regtest::wait::wait_for;

use crate::life::hash;
use crate::{LIMIT, Scene, ampcli, binaries};

/// A fee in msat that Bob would not use by default.
const NEW_FEE_MSAT: u32 = 7_531;

pub(crate) fn trials() -> trials::Trials {
    trials![
        private_node_is_reachable_through_the_hints_of_its_page,
        hints_include_private_channels_with_inbound_liquidity,
    ]
}

/// Only Bob knows the channel to Alice; Carol needs the route hint.
async fn private_node_is_reachable_through_the_hints_of_its_page() -> Result<()> {
    let mut network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    alice.set("donations-listen", "127.0.0.1:0");
    let (bob, carol) = (network.prepare("bob")?, network.prepare("carol")?);
    network.add(vec![alice, bob, carol]).await?;
    let scene = Scene { network };
    let without = with_fees(&scene, &[]).await?;
    let plans = [
        ChannelPlan::new("carol", "bob", 1_000_000),
        ChannelPlan::new("bob", "alice", 1_000_000).private(),
    ];
    let points = scene.network.open(&plans).await?;
    let usual = usual_fee(&scene, &points[1]).await?;
    let with = with_fees(&scene, &[usual]).await?;
    // The invoice and its row have not changed.
    assert_eq!(hash(&with)?, hash(&without)?);
    pay(&scene, &with, 1).await?;

    set_fee(&scene, &points[1]).await?;
    let dearer = with_fees(&scene, &[NEW_FEE_MSAT]).await?;
    let payment = pay(&scene, &dearer, 2).await?;
    assert!(payment >= NEW_FEE_MSAT.into(), "{payment} msat");

    close(&scene, &points[1]).await?;
    let gone = with_fees(&scene, &[]).await?;
    assert_eq!(hash(&gone)?, hash(&without)?);
    scene.network.finish();
    Ok(())
}

/// A channel without inbound liquidity is no help to payers, and the amount received before does not
/// limit what can be received.
async fn hints_include_private_channels_with_inbound_liquidity() -> Result<()> {
    let mut network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    alice.set("donations-listen", "127.0.0.1:0");
    let (bob, carol) = (network.prepare("bob")?, network.prepare("carol")?);
    network.add(vec![alice, bob, carol]).await?;
    let scene = Scene { network };
    let plans = [
        ChannelPlan::new("carol", "bob", 1_000_000),
        ChannelPlan::new("bob", "alice", 500_000).private(),
        ChannelPlan::new("alice", "bob", 1_000_000),
    ];
    let points = scene.network.open(&plans).await?;
    let usual = usual_fee(&scene, &points[1]).await?;
    with_fees(&scene, &[usual]).await?;
    alice_pays_bob(&scene, 100_000).await?;
    // Created with the current hints.
    let rotated = ampcli(&scene.network, &["donations", "rotate"])?;
    let rotated = rotated["payment_request"]
        .as_str()
        .context("the response has no invoice")?;
    assert_eq!(base_fees(rotated)?, [usual]);
    alice_pays_bob(&scene, 600_000).await?;
    with_fees(&scene, &[]).await?;
    scene.network.finish();
    Ok(())
}

async fn alice_pays_bob(scene: &Scene, sat: u64) -> Result<()> {
    let bobs = scene.network["bob"].api()?.invoice(sat * 1_000).await?;
    let request = bolt11(&bobs.payment_request);
    scene.network.pay_routed("alice", &request).await?;
    scene.network.wait_settled(LIMIT).await
}

/// Returns the page's invoice once its hints have these base fees in msat.
async fn with_fees(scene: &Scene, fees: &[u32]) -> Result<String> {
    wait_for("an invoice with other hints", LIMIT, async || {
        let invoice = scene.invoice().await?;
        let found = base_fees(&invoice)?;
        ensure!(found == fees, "{found:?}");
        Ok(invoice)
    })
    .await
}

fn base_fees(invoice: &str) -> Result<Vec<u32>> {
    let hints = invoice.parse::<DecodedInvoice>()?.route_hints;
    let hops = hints.iter().flat_map(|hint| &hint.0);
    Ok(hops.map(|hop| hop.fees.base_msat).collect())
}

/// Carol pays 1,000 sat and the page counts the payment. Returns the fee in msat.
async fn pay(scene: &Scene, invoice: &str, nth: u64) -> Result<i64> {
    let request = crate::request(invoice, 1_000, b"")?;
    let payment = scene.network.pay_routed("carol", &request).await?;
    let mut service = scene.network["alice"].api()?.static_invoices;
    wait_for("the payment on the page", LIMIT, async || {
        let page = service.donation_page(DonationPageRequest {}).await?;
        let (paid, invoices) = (page.get_ref().num_payments, &page.get_ref().invoices);
        ensure!((paid, invoices.len()) == (nth, 1), "{page:?}");
        Ok(())
    })
    .await?;
    Ok(payment.fee_msat)
}

/// Bob's base fee in msat for forwarding to Alice.
async fn usual_fee(scene: &Scene, point: &str) -> Result<u32> {
    let mut lightning = scene.network["bob"].api()?.lightning;
    let report = lightning
        .fee_report(FeeReportRequest {})
        .await?
        .into_inner();
    let channel = report
        .channel_fees
        .iter()
        .find(|fee| fee.channel_point == point);
    Ok(u32::try_from(
        channel
            .context("the channel has no fee report")?
            .base_fee_msat,
    )?)
}

async fn set_fee(scene: &Scene, point: &str) -> Result<()> {
    let request = PolicyUpdateRequest {
        scope: Some(Scope::ChanPoint(parse_point(point)?)),
        base_fee_msat: NEW_FEE_MSAT.into(),
        time_lock_delta: 80,
        ..Default::default()
    };
    let mut lightning = scene.network["bob"].api()?.lightning;
    let done = lightning.update_channel_policy(request).await?.into_inner();
    ensure!(done.failed_updates.is_empty(), "{done:?}");
    Ok(())
}

async fn close(scene: &Scene, point: &str) -> Result<()> {
    scene.network.wait_settled(LIMIT).await?;
    let request = CloseChannelRequest {
        channel_point: Some(parse_point(point)?),
        ..Default::default()
    };
    let mut lightning = scene.network["bob"].api()?.lightning;
    let mut updates = lightning.close_channel(request).await?.into_inner();
    updates
        .message()
        .await?
        .context("the node sent no update for the close")?;
    Ok(())
}
