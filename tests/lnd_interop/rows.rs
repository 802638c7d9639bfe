//! All scenarios over one way: next to each other, and with somebody in the middle.

use anyhow::Result;
use regtest::node::Software::{self, Ampd, Lnd};

use crate::lnd_is_here;
use crate::scenarios;
use crate::scene::{Scene, row};

#[tokio::test]
async fn over_one_hop() -> Result<()> {
    both_ways(&[("alice", Ampd), ("lena", Lnd)]).await
}

#[tokio::test]
async fn over_ampd() -> Result<()> {
    both_ways(&[("alice", Ampd), ("bob", Ampd), ("lena", Lnd)]).await
}

#[tokio::test]
async fn over_lnd() -> Result<()> {
    both_ways(&[("alice", Ampd), ("lisa", Lnd), ("lena", Lnd)]).await
}

#[tokio::test]
async fn between_two_ampd_over_lnd() -> Result<()> {
    both_ways(&[("alice", Ampd), ("lisa", Lnd), ("bob", Ampd)]).await
}

#[tokio::test]
async fn between_two_lnd_over_ampd() -> Result<()> {
    both_ways(&[("lisa", Lnd), ("alice", Ampd), ("lena", Lnd)]).await
}

async fn both_ways(nodes: &[(&str, Software)]) -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
    let network = row(nodes).await?;
    let there: Vec<&str> = nodes.iter().map(|node| node.0).collect();
    let back: Vec<&str> = there.iter().copied().rev().collect();
    for names in [&there, &back] {
        scenarios::all(Scene::new(&network, names[0], &names[1..])).await?;
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}
