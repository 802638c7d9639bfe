//! Private channels of the type option_scid_alias, known by aliases only. lnd and ampd accept it from
//! each other, and propose it where configured.

use anyhow::{Context, Result};
use lnd_api::proto::lnrpc::{AddInvoiceResponse, HopHint, Invoice, PayReqString};
use regtest::demo;
use regtest::network::{ChannelPlan, Network};
use regtest::trials;
use regtest::wait::wait_for;

use super::{MSAT, channel};
use crate::scene::{CAPACITY_SAT, Scene, amp};
use crate::{SETTLE_LIMIT, binaries};

const SWITCH: &str = "protocol.option-scid-alias";

pub(crate) fn trials() -> trials::Trials {
    trials![
        amp_is_paid_over_scid_alias_channels_opened_by_lnd,
        amp_is_paid_over_scid_alias_channels_opened_by_ampd,
    ]
}

async fn amp_is_paid_over_scid_alias_channels_opened_by_lnd() -> Result<()> {
    amp_is_paid_over("lena", "bob").await
}

async fn amp_is_paid_over_scid_alias_channels_opened_by_ampd() -> Result<()> {
    amp_is_paid_over("bob", "lena").await
}

/// Alternating ampd and lnd nodes in a row, with alias channels between the two in the middle, which
/// the outer nodes do not know.
async fn amp_is_paid_over(opener: &str, other: &str) -> Result<()> {
    let network = row().await?;
    let half = |from, to| ChannelPlan::new(from, to, CAPACITY_SAT).push(CAPACITY_SAT / 2);
    let plans = [
        half("alice", "lena"),
        half(opener, other).scid_alias(),
        half("bob", "lisa"),
    ];
    let points = network.open(&plans).await?;
    let bobs = channel(&network, "bob", &points[1]).await?;
    assert!(bobs.private);
    // ampd lists the real SCID as well as the aliases.
    assert!(!bobs.alias_scids.contains(&bobs.chan_id));
    for hops in [["alice", "lena", "bob"], ["lisa", "bob", "lena"]] {
        let scene = Scene::new(&network, hops[0], &hops[1..]);
        let (invoice, hint) = hinted_invoice(scene).await?;
        assert_eq!(hint.node_id, network[hops[1]].key());
        assert!(bobs.alias_scids.contains(&hint.chan_id), "{hint:?}");
        let payment = network.pay(hops[0], &amp(&invoice, 0)).await?;
        network.wait_settled(SETTLE_LIMIT).await?;
        demo::prove(&payment, &scene.payee()?).await?;
        let paid = scene.lookup(&invoice).await?;
        assert_eq!(u64::try_from(paid.amt_paid_msat)?, MSAT);
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn row() -> Result<Network> {
    let mut network = Network::start(binaries()).await?;
    let mut nodes = Vec::new();
    for name in ["alice", "bob"] {
        nodes.push(network.prepare(name)?);
    }
    for name in ["lena", "lisa"] {
        let mut lnd = network.prepare_lnd(name)?;
        lnd.set_raw(SWITCH, "true");
        nodes.push(lnd);
    }
    network.add(nodes).await?;
    Ok(network)
}

/// An AMP invoice of the payee with a route hint for its only private channel, once the peer has sent its
/// forwarding policy.
async fn hinted_invoice(scene: Scene<'_>) -> Result<(AddInvoiceResponse, HopHint)> {
    wait_for("an invoice with a route hint", SETTLE_LIMIT, async || {
        let invoice = Invoice {
            is_amp: true,
            private: true,
            value_msat: i64::try_from(MSAT)?,
            ..Default::default()
        };
        let invoice = scene.add_invoice(invoice).await?;
        let request = PayReqString {
            pay_req: invoice.payment_request.clone(),
        };
        let mut payer = scene.payer()?.lightning;
        let decoded = payer.decode_pay_req(request).await?.into_inner();
        let mut hops = decoded
            .route_hints
            .into_iter()
            .flat_map(|hint| hint.hop_hints);
        Ok((
            invoice,
            hops.next().context("the invoice has no route hint")?,
        ))
    })
    .await
}
