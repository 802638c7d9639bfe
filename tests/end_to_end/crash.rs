//! Receivers, senders and closing nodes that crash, at each named crash point and by kill -9 under
//! load. `cargo run -p regtest -- crash` runs any number of such rounds.

use anyhow::Result;
use regtest::crash::{CHANNELS, Middle, Rounds};

use crate::binaries;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receiver_is_paid_in_full_after_a_crash_at_any_point() -> Result<()> {
    regtest::crash::run_receiver_points(binaries()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sender_pays_exactly_once_after_a_crash_at_any_point() -> Result<()> {
    regtest::crash::run_sender_points(binaries()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_node_loses_no_funds_after_a_crash_at_any_point() -> Result<()> {
    regtest::crash::run_closer_points(binaries()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_crash_rounds_lose_no_funds() -> Result<()> {
    let rounds = Rounds {
        rounds: 3,
        seed: 1,
        middle: Middle::Ampd,
        channels: CHANNELS,
    };
    regtest::crash::run(binaries(), rounds).await
}
