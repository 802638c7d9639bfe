//! Private channels, with and without SCID alias, are reachable through route hints, whichever side
//! opened them.

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::{ChannelGraphRequest, Invoice};
use regtest::api::bolt11;
use regtest::network::Network;
use regtest::node::Software::{self, Ampd};
use regtest::wait::wait_for;

use crate::scene::{ALICE, BOB, PEER, all_is_settled, half, hash_of, pays, peer, peer_received};
use crate::{SETTLE_LIMIT, binaries, with_both};

const MSAT: u64 = 25_000_000;

with_both!(
    private_channels_are_reachable_through_hints,
    scid_alias_channels_are_reachable_through_hints,
);

async fn private_channels_are_reachable_through_hints(software: Software) -> Result<()> {
    // Bob is only reachable through the peer's private channels, one of which the peer opened.
    let network = three(software).await?;
    let plans = [
        half(ALICE, PEER),
        half(PEER, BOB).private(),
        half(BOB, PEER).private(),
    ];
    network.open(&plans).await?;
    paid_by_hint(&network, ALICE, BOB).await?;
    network.finish();
    Ok(())
}

async fn scid_alias_channels_are_reachable_through_hints(software: Software) -> Result<()> {
    let network = three(software).await?;
    let plans = [
        half(ALICE, PEER),
        half(BOB, PEER).scid_alias(),
        half(PEER, BOB).scid_alias(),
    ];
    network.open(&plans).await?;
    paid_by_hint(&network, ALICE, BOB).await?;
    // In the other direction, the peer itself is behind a private channel.
    let invoice = peer(&network)?.invoice(Some(MSAT), true).await?;
    pays(&network, BOB, &bolt11(&invoice)).await?;
    peer_received(&network, &hash_of(&invoice)?, MSAT).await?;
    all_is_settled(&network).await?;
    network.finish();
    Ok(())
}

async fn three(software: Software) -> Result<Network> {
    let nodes = [(ALICE, Ampd), (PEER, software), (BOB, Ampd)];
    Network::mixed(binaries(), &nodes).await
}

/// Pays an invoice of each kind. As with lnd, hints start at public nodes only, so the payee must know
/// that the peer is one.
async fn paid_by_hint(network: &Network, payer: &str, payee: &str) -> Result<()> {
    wait_for(
        "the payee to know the public channel",
        SETTLE_LIMIT,
        async || {
            let mut lightning = network[payee].api()?.lightning;
            let request = ChannelGraphRequest::default();
            let graph = lightning.describe_graph(request).await?.into_inner();
            ensure!(!graph.edges.is_empty(), "its graph has no channel");
            Ok(())
        },
    )
    .await?;
    for is_amp in [false, true] {
        let invoice = Invoice {
            value_msat: i64::try_from(MSAT)?,
            private: true,
            is_amp,
            ..Default::default()
        };
        let mut lightning = network[payee].api()?.lightning;
        let added = lightning.add_invoice(invoice).await?.into_inner();
        let before = network[payee].api()?.local_msat().await?;
        let paid = pays(network, payer, &bolt11(&added.payment_request)).await;
        paid.with_context(|| format!("AMP: {is_amp}"))?;
        let after = network[payee].api()?.local_msat().await?;
        ensure!(
            after == before + MSAT,
            "the balance was {before} msat and is now {after} msat"
        );
    }
    all_is_settled(network).await
}
