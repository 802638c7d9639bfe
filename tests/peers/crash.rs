//! Nodes crash under load while Core Lightning forwards between them. `cargo run -p regtest -- crash
//! --middle core-lightning` runs any number of such rounds.

use anyhow::Result;
use regtest::crash::{self, Middle};
use regtest::node::Software::CoreLightning;

use crate::{binaries, is_here};

const ROUNDS: u32 = 3;
const SEED: u64 = 17;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_rounds_with_core_lightning_in_the_middle_lose_no_funds() -> Result<()> {
    if !is_here(CoreLightning)? {
        return Ok(());
    }
    crash::run(binaries(), ROUNDS, SEED, Middle::CoreLightning).await
}
