//! What a cooperative close between two ampd pays, and that it stays cooperative.

use anyhow::{Context, Result, ensure};
use regtest::network::{ChannelPlan, Network};

use crate::binaries;

/// The 12-block estimate when bitcoind has none.
const ESTIMATE: u64 = 8;

/// Who closes a channel that Alice opened, for how many sat/vB (0: says nothing), and what it pays.
const CLOSES: [(&str, u64, u64); 7] = [
    ("alice", 0, ESTIMATE),
    ("alice", 1, 1),
    ("alice", 2, 2),
    ("alice", ESTIMATE, ESTIMATE),
    ("alice", 40, 40),
    // The opener pays, and has said nothing.
    ("bob", 0, ESTIMATE),
    ("bob", 40, ESTIMATE),
];

#[tokio::test]
async fn a_close_pays_what_was_asked_for_and_no_more() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000).push(400_000);
    let points = network.open(&[plan; CLOSES.len()]).await?;
    let mut wrong = Vec::new();
    for ((closer, asked, expected), point) in CLOSES.into_iter().zip(&points) {
        let fee = network.close_for(closer, point, asked).await;
        let fee = fee.with_context(|| format!("{closer} closes for {asked} sat/vB"))?;
        if !fee.is(expected) {
            wrong.push(format!(
                "{closer} closes for {asked} sat/vB, and it pays {fee:?}"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    network.finish();
    Ok(())
}
