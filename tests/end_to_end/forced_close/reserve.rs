//! The on-chain reserve for the fees of forced closes.

use std::fs;

use anyhow::{Result, ensure};
use lnd_api::proto::lnrpc::{CommitmentType, SendCoinsRequest};
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;

use super::htlcs::Held;
use super::{LIMIT, force_close};
use crate::ampcli::Cli;
use crate::binaries;

const HTLC_SAT: i64 = 200_000;

#[tokio::test]
async fn reserve_is_kept_until_the_htlcs_of_a_closed_channel_are_resolved() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob", "carol"]).await?;
    let plans = [("alice", "bob"), ("bob", "carol")]
        .map(|(from, to)| ChannelPlan::new(from, to, 1_000_000));
    let points = network.open(&plans).await?;
    let _held = Held::start(&network, "bob", "carol", HTLC_SAT).await?;
    network.kill(&["carol"])?;
    force_close(&network, "bob", &points[1]).await?;
    wait_for("the CPFP child", LIMIT, async || {
        let count = network.bitcoind.mempool().await?.len();
        ensure!(count == 2, "the mempool holds {count} transactions");
        Ok(())
    })
    .await?;
    network.mine(1).await?;

    send_all(&network, "bob").await?;
    network.mine(1).await?;
    let wallet = network["bob"].api()?.wallet().await?;
    let (left, reserve) = (
        wallet.confirmed_balance,
        wallet.reserved_balance_anchor_chan,
    );
    // For the open channel with Alice and the closed one with Carol.
    ensure!(
        left >= reserve && reserve >= 20_000,
        "{left} sat are left, the reserve is {reserve} sat"
    );
    wait_for("the HTLC to be reclaimed on chain", LIMIT, async || {
        network.mine(3).await?;
        let pending = network["bob"].api()?.pending().await?;
        let channels = pending.pending_force_closing_channels;
        let htlcs: usize = channels.iter().map(|one| one.pending_htlcs.len()).sum();
        ensure!(htlcs == 0, "{channels:?}");
        Ok(())
    })
    .await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn missing_reserve_is_reported_and_optionally_refused() -> Result<()> {
    let mut network = Network::start(binaries()).await?;
    let (alice, bob) = (network.prepare("alice")?, network.prepare("bob")?);
    let mut carol = network.prepare("carol")?;
    carol.set_raw("require-anchor-reserve", "true");
    network.add(vec![alice, bob, carol]).await?;
    let to = |name| ChannelPlan::new("alice", name, 1_000_000);
    network.open_without_reserve(&[to("bob")]).await?;
    let told = fs::read_to_string(network["bob"].log())?;
    ensure!(
        told.contains("the on-chain wallet cannot pay for a force close of this channel"),
        "Bob's log does not tell of it"
    );
    for (name, is_missing) in [("bob", true), ("carol", false)] {
        let node = &network[name];
        let cli = Cli {
            network: &network,
            node,
        };
        let warning = String::from_utf8(cli.run(&["getinfo"])?.stderr)?;
        assert_eq!(warning.contains("fees of force closes"), is_missing);
    }
    network.open_without_reserve(&[to("carol")]).await?;
    let told = fs::read_to_string(network["carol"].log())?;
    ensure!(
        told.contains("not enough funds in reserve"),
        "Carol's log has no line about a refusal"
    );
    // LDK retries without anchors, which needs no reserve.
    let channels = network["carol"].api()?.channels().await?;
    let kinds: Vec<_> = channels.iter().map(|one| one.commitment_type()).collect();
    assert_eq!(kinds, [CommitmentType::StaticRemoteKey]);
    network.finish();
    Ok(())
}

/// Runs `ampcli sendcoins --sweepall` to one of Alice's addresses.
async fn send_all(network: &Network, name: &str) -> Result<()> {
    let request = SendCoinsRequest {
        addr: network["alice"].api()?.address().await?,
        send_all: true,
        ..Default::default()
    };
    let mut lightning = network[name].api()?.lightning;
    lightning.send_coins(request).await?;
    Ok(())
}
