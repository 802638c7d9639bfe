//! More connections than the node has slots for.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use regtest::api::amp_to;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::Ampd;
use regtest::rest::Rest;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::LIMIT;
use super::tls::TlsClient;
use crate::binaries;

/// Connection slots of one listener.
const SLOTS: usize = 300;
const FLOOD: usize = 400;

#[tokio::test]
async fn idle_connections_block_neither_payments_nor_clients() -> Result<()> {
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
    // The existing connection can still pay.
    let paid = node
        .api()?
        .pay(amp_to(network["bob"].key(), 5_000)?)
        .await?;
    assert_eq!(paid.status(), PaymentStatus::Succeeded);
    // A new connection waits for a slot, from which an idle one is evicted.
    let began = Instant::now();
    let rest = Rest::of(node, "admin.macaroon")?;
    let info = timeout(LIMIT, rest.get("/v1/getinfo")).await;
    info.context("no connection slot became free")??.json()?;
    let waited = began.elapsed();
    ensure!(
        waited > Duration::from_secs(1),
        "the slots were not all taken: waited only {waited:?}"
    );
    let mut closed = [0];
    let read = timeout(LIMIT, silent[0].read(&mut closed)).await?;
    ensure!(
        read.is_err() || read? == 0,
        "an idle connection was not closed"
    );
    network.finish();
    Ok(())
}

/// TLS connections that stay open without a request.
#[tokio::test]
async fn unauthenticated_connections_are_evicted_before_authenticated_ones() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let tls = TlsClient::of(node)?;
    let known = node.api()?;
    known.info().await?;
    let mut unauthenticated = JoinSet::new();
    for address in [node.rpc_address()?.to_owned(), node.rest_address()?] {
        for _ in 0..FLOOD {
            unauthenticated.spawn(stays(tls.clone(), address.clone()));
        }
    }
    let rest = Rest::of(node, "admin.macaroon")?;
    let info = timeout(LIMIT, rest.get("/v1/getinfo")).await;
    info.context("no unauthenticated connection was evicted")??
        .json()?;
    known.info().await?;
    // As many as had to wait, on both listeners.
    for _ in 0..2 * (FLOOD - SLOTS) {
        let ended = timeout(LIMIT, unauthenticated.join_next()).await;
        ended
            .context("the unauthenticated connections stayed open")?
            .context("no unauthenticated connection")???;
    }
    network.finish();
    Ok(())
}

/// Returns when the node closes the connection.
async fn stays(tls: TlsClient, address: String) -> Result<()> {
    let mut stream = tls.connect(&address, "h2").await?;
    // With or without a TLS close_notify.
    drop(stream.read_to_end(&mut Vec::new()).await);
    Ok(())
}
