//! Receivers, senders and closing nodes that die: at each named point, and by kill -9 under load. `cargo run -p regtest -- crash`
//! does as much of it as you like.

use anyhow::Result;
use regtest::crash::Middle;

use crate::binaries;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_aborts_at_any_named_point_is_paid_whole() -> Result<()> {
    regtest::crash::run_receiver_points(binaries()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_aborts_at_any_named_point_pays_once() -> Result<()> {
    regtest::crash::run_sender_points(binaries()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_aborts_at_any_named_point_of_a_close_loses_nothing() -> Result<()> {
    regtest::crash::run_closer_points(binaries()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_crash_rounds_lose_nothing() -> Result<()> {
    regtest::crash::run(binaries(), 3, 1, Middle::Ampd).await
}
