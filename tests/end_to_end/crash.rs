//! kill -9 under load. `cargo run -p regtest -- crash --rounds N` runs as many as you like.

use anyhow::Result;

use crate::binaries;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_crash_rounds_lose_nothing() -> Result<()> {
    regtest::crash::run(binaries(), 3, 1).await
}
