//! Very many open pages.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::Scene;
use crate::http::{Events, get};

const STREAMS: usize = 1_000;
/// What the page takes at most.
const MOST: usize = 2_000;
const AT_A_TIME: usize = 50;
/// Of this process: a file for each stream, and its own.
const FILES: u64 = 3_500;

#[tokio::test]
async fn a_thousand_open_pages_hear_of_each_payment_once() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(FILES);
    ensure!(most >= FILES, "the limit of open files is {most}");
    limit.current = Some(FILES);
    setrlimit(Resource::Nofile, limit)?;

    let scene = Scene::start(|_| {}).await?;
    let address = &scene.address()?;
    let mut streams = open(address, STREAMS).await?;
    let invoice = scene.invoice().await?;
    for number in 1..=3u64 {
        scene.pay(&invoice, 1_000 * number, b"").await?;
        let heard = try_join_all(streams.iter_mut().map(|one| one.next("payment"))).await?;
        for payment in heard {
            assert_eq!(payment["count"], number);
            assert_eq!(payment["amount"], format!("{number},000 sat"));
            // The owner did not say that messages are shown.
            assert_eq!(payment["message"], serde_json::Value::Null);
        }
    }
    // Only so many have a stream; all others still have the page.
    streams.extend(open(address, MOST - STREAMS).await?);
    let refused = get(address, "/events").await?;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), "60");
    let page = get(address, "/").await?;
    assert!(page.text()?.contains("3 donations"), "{page:?}");
    // Whoever goes makes room.
    drop(streams);
    regtest::wait::wait_for("a place for a stream", crate::LIMIT, async || {
        Events::open(address).await.map(drop)
    })
    .await?;
    scene.network.finish();
    Ok(())
}

/// Opens them; each has been told the state.
async fn open(address: &str, count: usize) -> Result<Vec<Events>> {
    stream::iter(0..count)
        .map(async |_| {
            let mut events = Events::open(address).await?;
            events.next("state").await.context("no state")?;
            anyhow::Ok(events)
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}
