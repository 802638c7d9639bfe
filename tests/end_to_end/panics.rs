//! A panic terminates the process with an error message and loses nothing.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use crash_points::panics::Place;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use regtest::api::bolt11;
use regtest::network::{ChannelPlan, Network};

use crate::{SETTLE_LIMIT, binaries};

const AMOUNT_MSAT: u64 = 10_000_000;

#[tokio::test]
async fn panic_stops_the_node_with_one_log_line_and_no_loss() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000);
    network.open(&[plan]).await?;
    let total = network.check_balances().await?;
    for place in Place::ALL {
        panics(&mut network, place)
            .await
            .with_context(|| format!("{place:?}"))?;
        assert_eq!(network.check_balances().await?, total);
    }
    network.finish();
    Ok(())
}

async fn panics(network: &mut Network, place: Place) -> Result<()> {
    let invoice = network["bob"].api()?.invoice(AMOUNT_MSAT).await?;
    restart(network, Some(place)).await?;
    let before = lines(network)?.len();
    let alice = network["alice"].api()?;
    let mut paying = None;
    let start = Instant::now();
    match place {
        Place::Chain => {
            network.bitcoind.mine(1).await?;
        }
        Place::Event | Place::Writer => {
            let request = bolt11(&invoice.payment_request);
            paying = Some(tokio::spawn(async move { alice.pay(request).await }));
        }
        Place::Call => {
            let answer = network["bob"].api()?.invoice(AMOUNT_MSAT).await;
            ensure!(answer.is_err(), "a node that panicked responded");
        }
    }
    let status = network["bob"].wait_for_end().await?;
    ensure!(!status.success(), "the exit status is success");
    ensure!(
        start.elapsed() < SETTLE_LIMIT,
        "the node took too long to exit"
    );
    let lines = lines(network)?;
    let new_lines = &lines[before..];
    let panics = new_lines.iter().filter(|line| line.contains("panicked"));
    let panics: Vec<_> = panics.collect();
    ensure!(panics.len() == 1, "{panics:?}");
    let line = panics[0];
    ensure!(
        line.contains("ERROR") && line.contains(place.name()) && line.contains("Nothing is lost"),
        "{line}"
    );

    restart(network, None).await?;
    if let Some(paying) = paying {
        let paid = paying.await??;
        ensure!(paid.status() == PaymentStatus::Succeeded, "{paid:?}");
    }
    network.wait_settled(SETTLE_LIMIT).await
}

/// Restarts Bob so that he panics there, or nowhere.
async fn restart(network: &mut Network, place: Option<Place>) -> Result<()> {
    if network["bob"].is_running() {
        network["bob"].stop().await?;
    }
    network["bob"].panic_at(place);
    network.restart(&["bob"]).await?;
    network.wait_synced().await?;
    network.wait_usable().await
}

fn lines(network: &Network) -> Result<Vec<String>> {
    let log = fs::read_to_string(network["bob"].log())?;
    Ok(log.lines().map(str::to_owned).collect())
}
