//! Nodes are killed and restarted while HTLCs are pending: payments still complete.

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::PaymentHash;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::TrackPaymentRequest;
use regtest::network::Network;
use regtest::node::Software;
use regtest::wait::wait_for;
use tokio::time::timeout;

use crate::scene::{
    ALICE, BOB, Hold, PEER, all_is_settled, in_the_middle, neighbours, spawn_peer_payment,
};
use crate::{SETTLE_LIMIT, with_both};

const MSAT: u64 = 30_000_000;

with_both!(
    payments_through_the_peer_survive_kills,
    payment_by_the_peer_survives_kills,
);

/// Kills the payer, the peer in the middle, and the payee, one after the other.
async fn payments_through_the_peer_survive_kills(software: Software) -> Result<()> {
    let mut network = in_the_middle(software).await?;
    for victim in [PEER, BOB, ALICE] {
        let outlived = survives(&mut network, victim).await;
        outlived.with_context(|| format!("{victim} was killed"))?;
    }
    network.finish();
    Ok(())
}

async fn survives(network: &mut Network, victim: &str) -> Result<()> {
    let hold = Hold::new(network, BOB, MSAT).await?;
    let (api, request) = (network[ALICE].api()?, hold.request());
    // Alice may not know the route yet, or may be the one that is killed.
    let paying = tokio::spawn(async move { api.pay(request).await });
    hold.is_accepted(network, BOB).await?;
    kill_and_restart(network, victim).await?;
    hold.settle(network, BOB).await?;
    let request = TrackPaymentRequest {
        payment_hash: hold.hash.clone(),
        no_inflight_updates: true,
    };
    let mut router = network[ALICE].api()?.router;
    let mut updates = router.track_payment_v2(request).await?.into_inner();
    let end = timeout(SETTLE_LIMIT, updates.message()).await;
    let end = end
        .context("timed out waiting for the final status")??
        .context("the stream has ended")?;
    assert_eq!(end.status(), PaymentStatus::Succeeded);
    drop(paying.await?);
    all_is_settled(network).await
}

/// The peer pays; first ampd is killed, then the peer.
async fn payment_by_the_peer_survives_kills(software: Software) -> Result<()> {
    let mut network = neighbours(software).await?;
    for victim in [ALICE, PEER] {
        let before = network[ALICE].api()?.local_msat().await?;
        let hold = Hold::new(&network, ALICE, MSAT).await?;
        let paying = spawn_peer_payment(&network, &hold)?;
        hold.is_accepted(&network, ALICE).await?;
        kill_and_restart(&mut network, victim).await?;
        hold.settle(&network, ALICE).await?;
        is_settled(&network, &hold).await?;
        all_is_settled(&network).await?;
        assert_eq!(network[ALICE].api()?.local_msat().await?, before + MSAT);
        paying.abort();
    }
    network.finish();
    Ok(())
}

async fn kill_and_restart(network: &mut Network, victim: &str) -> Result<()> {
    network[victim].kill()?;
    network.restart(&[victim]).await?;
    if victim != PEER {
        // Eclair waits up to an hour before reconnecting to a peer that disconnected soon after connecting.
        network.connect(victim, PEER).await?;
    }
    network.wait_usable().await
}

async fn is_settled(network: &Network, hold: &Hold) -> Result<()> {
    wait_for("the invoice to be settled", SETTLE_LIMIT, async || {
        let hash = PaymentHash {
            r_hash: hold.hash.clone(),
            ..Default::default()
        };
        let mut lightning = network[ALICE].api()?.lightning;
        let state = lightning.lookup_invoice(hash).await?.into_inner().state();
        ensure!(state == InvoiceState::Settled, "the state is {state:?}");
        Ok(())
    })
    .await
}
