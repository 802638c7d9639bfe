//! Fees of cooperative closes between ampd and lnd, and that the closes stay cooperative.
//!
//! lnd proposes a single fee without a range. On regtest its estimate is 25 sat/vB, ampd's 8.

use anyhow::{Result, ensure};
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{Ampd, Lnd};
use regtest::trials;

use super::{AMPD, CAPACITY_SAT, LND};
use crate::binaries;

const LNDS_ESTIMATE: u64 = 25;

/// Opener, closer, requested sat/vB (0: none), and expected sat/vB.
const CLOSES: [(&str, &str, u64, u64); 13] = [
    // No rate was requested: lnd's rate is better than no close.
    (AMPD, AMPD, 0, LNDS_ESTIMATE),
    (AMPD, AMPD, 1, 1),
    (AMPD, AMPD, 10, 10),
    (AMPD, AMPD, LNDS_ESTIMATE, LNDS_ESTIMATE),
    (AMPD, AMPD, 40, 40),
    (AMPD, AMPD, 200, 200),
    (AMPD, LND, 0, LNDS_ESTIMATE),
    (AMPD, LND, 1, 1),
    // lnd pays, and chooses the rate.
    (LND, LND, 0, LNDS_ESTIMATE),
    (LND, LND, 1, 1),
    (LND, LND, 40, 40),
    (LND, AMPD, 1, LNDS_ESTIMATE),
    (LND, AMPD, 40, LNDS_ESTIMATE),
];

pub(crate) fn trials() -> trials::Trials {
    trials![no_closing_fee_leads_to_a_forced_close]
}

async fn no_closing_fee_leads_to_a_forced_close() -> Result<()> {
    let network = Network::mixed(binaries(), &[(AMPD, Ampd), (LND, Lnd)]).await?;
    let plan = |from| {
        let to = if from == AMPD { LND } else { AMPD };
        ChannelPlan::new(from, to, CAPACITY_SAT).push(CAPACITY_SAT / 2)
    };
    let points = network
        .open(&CLOSES.map(|(opener, ..)| plan(opener)))
        .await?;
    let mut wrong = Vec::new();
    for ((opener, closer, requested, expected), point) in CLOSES.into_iter().zip(&points) {
        let fee = network.close_for(closer, point, requested).await;
        if !fee.as_ref().is_ok_and(|fee| fee.is(expected)) {
            wrong.push(format!(
                "{closer} closes a channel of {opener} at {requested} sat/vB, but the fee is {fee:?}"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    network.finish();
    Ok(())
}
