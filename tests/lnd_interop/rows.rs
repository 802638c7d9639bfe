//! All scenarios over one route: between direct peers, and through a forwarding node.

use anyhow::Result;
use regtest::node::Software::{self, Ampd, Lnd};
use regtest::trials;

use crate::scenarios;
use crate::scene::{Scene, row};

pub(crate) fn trials() -> trials::Trials {
    trials![
        scenarios_pass_between_direct_peers,
        scenarios_pass_through_ampd,
        scenarios_pass_through_lnd,
        scenarios_pass_between_two_ampd_through_lnd,
        scenarios_pass_between_two_lnd_through_ampd,
    ]
}

async fn scenarios_pass_between_direct_peers() -> Result<()> {
    both_directions(&[("alice", Ampd), ("lena", Lnd)]).await
}

async fn scenarios_pass_through_ampd() -> Result<()> {
    both_directions(&[("alice", Ampd), ("bob", Ampd), ("lena", Lnd)]).await
}

async fn scenarios_pass_through_lnd() -> Result<()> {
    both_directions(&[("alice", Ampd), ("lisa", Lnd), ("lena", Lnd)]).await
}

async fn scenarios_pass_between_two_ampd_through_lnd() -> Result<()> {
    both_directions(&[("alice", Ampd), ("lisa", Lnd), ("bob", Ampd)]).await
}

async fn scenarios_pass_between_two_lnd_through_ampd() -> Result<()> {
    both_directions(&[("lisa", Lnd), ("alice", Ampd), ("lena", Lnd)]).await
}

async fn both_directions(nodes: &[(&str, Software)]) -> Result<()> {
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
