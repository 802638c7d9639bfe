//! More connections than the node has places for.

use std::time::{Duration, Instant};

use lnd_api::proto::lnrpc::payment::PaymentStatus;
use anyhow::{Context, Result, ensure};
use regtest::api::amp_to;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::Ampd;
use regtest::rest::Rest;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::LIMIT;
use super::door::Door;
use crate::binaries;

/// Of one listener.
const PLACES: usize = 300;
const FLOOD: usize = 400;

#[tokio::test]
async fn a_flood_of_silent_connections_stops_neither_payments_nor_callers() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd), ("bob", Ampd)]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000).push(500_000);
    network.open(&[plan]).await?;
    let node = &network["alice"];
    let mut silent = Vec::new();
    for address in [node.rpc_address()?.to_owned(), node.rest_address()?] {
        for _ in 0..FLOOD {
            silent.push(TcpStream::connect(&address).await?);
        }
    }
    // The connection that stands pays.
    let paid = node
        .api()?
        .pay(amp_to(network["bob"].key(), 5_000)?)
        .await?;
    assert_eq!(paid.status(), PaymentStatus::Succeeded);
    // A new one waits for a place, which the silent ones lose.
    let began = Instant::now();
    let rest = Rest::of(node, "admin.macaroon")?;
    let info = timeout(LIMIT, rest.get("/v1/getinfo")).await;
    info.context("no place became free")??.json()?;
    let waited = began.elapsed();
    ensure!(
        waited > Duration::from_secs(1),
        "the flood was none: {waited:?}"
    );
    let mut closed = [0];
    let read = timeout(LIMIT, silent[0].read(&mut closed)).await?;
    ensure!(read.is_err() || read? == 0, "a silent connection is closed");
    network.finish();
    Ok(())
}

/// Encrypted connections that stand for as long as their owners like, with nothing said on them.
#[tokio::test]
async fn strangers_who_never_show_a_macaroon_give_way_and_known_callers_stay() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let door = Door::of(node)?;
    let known = node.api()?;
    known.info().await?;
    let mut strangers = JoinSet::new();
    for address in [node.rpc_address()?.to_owned(), node.rest_address()?] {
        for _ in 0..FLOOD {
            strangers.spawn(stays(door.clone(), address.clone()));
        }
    }
    let rest = Rest::of(node, "admin.macaroon")?;
    let info = timeout(LIMIT, rest.get("/v1/getinfo")).await;
    info.context("no stranger gave way")??.json()?;
    known.info().await?;
    // As many as had to wait, from both listeners.
    for _ in 0..2 * (FLOOD - PLACES) {
        let ended = timeout(LIMIT, strangers.join_next()).await;
        ended
            .context("the strangers stayed")?
            .context("no stranger")???;
    }
    network.finish();
    Ok(())
}

/// Returns when the node hangs up.
async fn stays(door: Door, address: String) -> Result<()> {
    let mut stream = door.connect(&address, "h2").await?;
    // Orderly or not.
    drop(stream.read_to_end(&mut Vec::new()).await);
    Ok(())
}
