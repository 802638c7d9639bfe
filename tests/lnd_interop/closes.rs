//! Closes of channels that hold HTLCs of AMP sets.

mod balance;
mod cooperative;
mod fees;
mod forced;
mod held;

use std::time::Duration;

use anyhow::{Result, ensure};
use lnd_api::proto::lnrpc::CloseChannelRequest;
use regtest::channel_point::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{Ampd, Lnd};
use regtest::trials::Trials;
use regtest::wait::wait_for;

use crate::binaries;

const AMPD: &str = "alice";
const LND: &str = "lena";
const CAPACITY_SAT: u64 = 4_000_000;
const LIMIT: Duration = Duration::from_secs(60);

/// The closer and the payer.
const CASES: [(&str, &str); 4] = [(AMPD, AMPD), (AMPD, LND), (LND, AMPD), (LND, LND)];

pub(crate) fn trials() -> Trials {
    cooperative::trials()
        .and(fees::trials())
        .and(forced::trials())
}

/// An ampd and an lnd with a channel for each case and a last one that stays open. Each end has opened
/// about half of them, and all can be paid over in both directions.
async fn neighbours() -> Result<(Network, Vec<String>)> {
    let network = Network::mixed(binaries(), &[(AMPD, Ampd), (LND, Lnd)]).await?;
    let plan = |from, to| ChannelPlan::new(from, to, CAPACITY_SAT).push(CAPACITY_SAT / 2);
    let (there, back) = (plan(AMPD, LND), plan(LND, AMPD));
    let points = network.open(&[there, back, back, there, there]).await?;
    Ok((network, points))
}

fn payee_of(payer: &str) -> &'static str {
    if payer == AMPD { LND } else { AMPD }
}

fn close_of(point: &str) -> Result<CloseChannelRequest> {
    Ok(CloseChannelRequest {
        channel_point: Some(parse_point(point)?),
        ..Default::default()
    })
}

/// Waits for at least this many transactions; a node may report one just before it is in the mempool.
async fn wait_for_mempool(network: &Network, transactions: usize) -> Result<()> {
    wait_for("the closing transaction", LIMIT, async || {
        let now = network.bitcoind.mempool().await?.len();
        ensure!(now >= transactions, "the mempool holds {now} transactions");
        Ok(())
    })
    .await
}
