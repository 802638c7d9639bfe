//! Private channels of the type that is known by aliases only (option_scid_alias). lnd and
//! ampd take it from each other and propose it where they are told to.

use lnd_api::proto::lnrpc::{AddInvoiceResponse, HopHint, Invoice, PayReqString};
use anyhow::{Context, Result};
use regtest::demo;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;

use super::{MSAT, channel};
use crate::scene::{CAPACITY_SAT, Scene, amp};
use crate::{SETTLE_LIMIT, binaries, lnd_is_here};

const SWITCH: &str = "protocol.option-scid-alias";

#[tokio::test]
async fn amp_is_paid_over_channels_with_aliases_that_lnd_opened() -> Result<()> {
    amp_is_paid_over("lena", "bob").await
}

#[tokio::test]
async fn amp_is_paid_over_channels_with_aliases_that_ampd_opened() -> Result<()> {
    amp_is_paid_over("bob", "lena").await
}

/// ampd and lnd in turn, with a channel with aliases between the two in the middle, which the two
/// outside do not know.
async fn amp_is_paid_over(opener: &str, other: &str) -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
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
    // ampd lists the real one beside the aliases.
    assert!(!bobs.alias_scids.contains(&bobs.chan_id));
    for way in [["alice", "lena", "bob"], ["lisa", "bob", "lena"]] {
        let scene = Scene::new(&network, way[0], &way[1..]);
        let (invoice, hint) = hinted_invoice(scene).await?;
        assert_eq!(hint.node_id, network[way[1]].key());
        assert!(bobs.alias_scids.contains(&hint.chan_id), "{hint:?}");
        let payment = network.pay(way[0], &amp(&invoice, 0)).await?;
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

/// An AMP invoice of the payee with its only private channel in a hint: it takes a moment until the
/// peer has told what it takes for a forward.
async fn hinted_invoice(scene: Scene<'_>) -> Result<(AddInvoiceResponse, HopHint)> {
    wait_for("an invoice with a hint", SETTLE_LIMIT, async || {
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
            .flat_map(|way| way.hop_hints);
        Ok((invoice, hops.next().context("it has no hint")?))
    })
    .await
}
