//! Measures what API clients list and look up, with a short and a long history, and the network graph:
//! `cargo bench --bench growth`.
//!
//! Two nodes with a channel between them get a small and a large database. Each call then goes to both in
//! turn, many times, so that other load on the machine affects both. A page of 50 may take at most 1.2 times
//! as long with the long history. Then both get a network graph, and the time that gossip waits while all
//! of a large graph is read is limited. The benchmark fails if a limit is exceeded.

mod common;
mod lists;

use anyhow::{Result, ensure};
use regtest::api::Api;

use common::fill::History;
use lists::fill::Size;
use lists::nodes::Nodes;
use lists::{graph, graph_calls, pages};

const SMALL: Size = Size {
    received: History {
        invoices: 100,
        htlcs: 1_000,
    },
    payments: 100,
    forwards: 100,
    coins: 10,
};
const LARGE: Size = Size {
    received: History {
        invoices: 100_000,
        htlcs: 1_000_000,
    },
    payments: 100_000,
    forwards: 1_000_000,
    coins: 3_000,
};

/// Limit of the ratio between the large and the small database.
const MAX_RATIO: f64 = 1.2;

/// The clients of both nodes.
struct Pair {
    small: Api,
    large: Api,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut nodes = Nodes::start().await?;
    nodes.fill().await?;
    let pair = nodes.pair()?;
    let worst = pages::measure(&pair).await?;
    let wait = graph_calls::measure(&mut nodes).await?;
    nodes.finish();
    println!("\nworst ratio of the lists {worst:.2} (limit {MAX_RATIO})");
    ensure!(
        worst <= MAX_RATIO,
        "the worst ratio is {worst:.2}, above the limit"
    );
    let (found, limit) = (
        wait.as_secs_f64() * 1e3,
        graph::MAX_WAIT.as_secs_f64() * 1e3,
    );
    println!("gossip waits {found:.2} ms (p99) while the graph is read (limit {limit} ms)");
    ensure!(wait <= graph::MAX_WAIT, "gossip waits {found:.2} ms");
    Ok(())
}
