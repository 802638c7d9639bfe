//! Invoices of nodes with only private channels, paid through route hints.

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::{
    AddInvoiceResponse, Invoice, PayReqString, Payment, PaymentFailureReason,
};
use regtest::api::{amp_to, bolt11};
use regtest::demo;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{self, Ampd, Lnd};
use regtest::trials;
use regtest::wait::wait_for;

use crate::scene::{CAPACITY_SAT, Scene, amp};
use crate::{SETTLE_LIMIT, binaries};

const MSAT: i64 = 25_000_001;
const PAYERS: [&str; 2] = ["alice", "lena"];
const PAYEES: [&str; 2] = ["bob", "lisa"];

pub(crate) fn trials() -> trials::Trials {
    trials![
        private_nodes_behind_ampd_are_paid_through_route_hints,
        private_nodes_behind_lnd_are_paid_through_route_hints,
    ]
}

async fn private_nodes_behind_ampd_are_paid_through_route_hints() -> Result<()> {
    behind(Ampd).await
}

async fn private_nodes_behind_lnd_are_paid_through_route_hints() -> Result<()> {
    behind(Lnd).await
}

async fn behind(hub: Software) -> Result<()> {
    let network = around(hub).await?;
    for payer in PAYERS {
        for payee in PAYEES {
            let hops = ["hub", payee];
            let paid = paid_through_the_hint(Scene::new(&network, payer, &hops)).await;
            paid.with_context(|| format!("{payer} to {payee}"))?;
        }
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// All nodes are peers of the hub; the payees' channels are private.
async fn around(hub: Software) -> Result<Network> {
    let nodes = [
        ("alice", Ampd),
        ("lena", Lnd),
        ("hub", hub),
        ("bob", Ampd),
        ("lisa", Lnd),
    ];
    let network = Network::mixed(binaries(), &nodes).await?;
    let plan = |from, to| ChannelPlan::new(from, to, CAPACITY_SAT).push(CAPACITY_SAT / 2);
    let public = PAYERS.iter().map(|payer| plan(*payer, "hub"));
    let private = PAYEES.iter().map(|payee| plan("hub", *payee).private());
    let plans: Vec<_> = public.chain(private).collect();
    network.open(&plans).await?;
    Ok(network)
}

async fn paid_through_the_hint(scene: Scene<'_>) -> Result<()> {
    let invoice = with_hint(scene, true).await?;
    let payment = scene.pays(&amp(&invoice, 0)).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    check_route(scene, &payment)?;
    assert_eq!(scene.lookup(&invoice).await?.amt_paid_msat, MSAT);

    let invoice = with_hint(scene, false).await?;
    let payment = scene.pays(&bolt11(&invoice.payment_request)).await?;
    check_route(scene, &payment)?;
    assert_eq!(scene.lookup(&invoice).await?.amt_paid_msat, MSAT);

    // Without the hint there is no route.
    let unhinted = amp_to(scene.payee_key(), u64::try_from(MSAT)?)?;
    let failed = scene.payment_fails(&unhinted).await?;
    let why = PaymentFailureReason::FailureReasonNoRoute;
    assert_eq!(failed.failure_reason(), why);
    Ok(())
}

/// An invoice as decoded by the payer. The payee must first learn that its peer is public.
async fn with_hint(scene: Scene<'_>, is_amp: bool) -> Result<AddInvoiceResponse> {
    wait_for("an invoice with a route hint", SETTLE_LIMIT, async || {
        let invoice = Invoice {
            is_amp,
            value_msat: MSAT,
            private: true,
            ..Default::default()
        };
        let invoice = scene.add_invoice(invoice).await?;
        let pay_req = PayReqString {
            pay_req: invoice.payment_request.clone(),
        };
        let read = scene.payer()?.lightning.decode_pay_req(pay_req).await?;
        let hints = read.into_inner().route_hints;
        let hops = hints.iter().flat_map(|hint| &hint.hop_hints);
        let nodes: Vec<_> = hops.map(|hop| hop.node_id.as_str()).collect();
        ensure!(!nodes.is_empty(), "the invoice has no route hint");
        assert_eq!(nodes, [scene.network["hub"].key()]);
        Ok(invoice)
    })
    .await
}

fn check_route(scene: Scene<'_>, payment: &Payment) -> Result<()> {
    let keys: Vec<_> = scene
        .hops
        .iter()
        .map(|name| scene.network[*name].key())
        .collect();
    let attempts = payment.htlcs.iter();
    for attempt in attempts.filter(|attempt| attempt.status() == HtlcStatus::Succeeded) {
        let route = attempt.route.as_ref().context("no route")?;
        let hops: Vec<_> = route.hops.iter().map(|hop| hop.pub_key.as_str()).collect();
        assert_eq!(hops, keys);
    }
    Ok(())
}
