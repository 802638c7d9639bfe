//! Nodes crash under load while Core Lightning forwards between them. `cargo run -p regtest -- crash
//! --middle core-lightning` runs any number of such rounds.

use anyhow::Result;
use regtest::crash::{self, CHANNELS, Middle, Rounds};
use regtest::node::Software::CoreLightning;
use regtest::trials;

use crate::binaries;

const ROUNDS: u32 = 3;
const SEED: u64 = 17;

pub(crate) fn trials() -> trials::Trials {
    trials![crash_rounds_with_core_lightning_in_the_middle_lose_no_funds]
        .on_threads(2)
        .ignored_if(trials::missing(CoreLightning))
}

async fn crash_rounds_with_core_lightning_in_the_middle_lose_no_funds() -> Result<()> {
    let rounds = Rounds {
        rounds: ROUNDS,
        seed: SEED,
        middle: Middle::CoreLightning,
        channels: CHANNELS,
    };
    crash::run(binaries(), rounds).await
}
