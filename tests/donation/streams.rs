//! Many open pages.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use regtest::trials;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::Scene;
use crate::http::{Events, get};

const STREAMS: usize = 1_000;
/// The page's maximum number of event streams.
const MAX_STREAMS: usize = 2_000;
const CONCURRENT_OPENS: usize = 50;
/// Open files of this process: one per stream, and its own.
const OPEN_FILES: u64 = 3_500;

pub(crate) fn trials() -> trials::Trials {
    trials![thousand_open_pages_get_each_payment_once]
}

async fn thousand_open_pages_get_each_payment_once() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(OPEN_FILES);
    ensure!(most >= OPEN_FILES, "the limit on open files is {most}");
    limit.current = Some(OPEN_FILES);
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
            // Messages are shown only if the owner enables them.
            assert_eq!(payment["message"], serde_json::Value::Null);
        }
    }
    // Beyond the maximum there are no more streams, but the page still loads.
    streams.extend(open(address, MAX_STREAMS - STREAMS).await?);
    let refused = get(address, "/events").await?;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), "60");
    let page = get(address, "/").await?;
    assert!(page.text()?.contains("3 donations"), "{page:?}");
    // Closed streams free their slots.
    drop(streams);
    regtest::wait::wait_for("a free stream slot", crate::LIMIT, async || {
        Events::open(address).await.map(drop)
    })
    .await?;
    scene.network.finish();
    Ok(())
}

/// Opens event streams and waits for the initial state of each.
async fn open(address: &str, count: usize) -> Result<Vec<Events>> {
    stream::iter(0..count)
        .map(async |_| {
            let mut events = Events::open(address).await?;
            events
                .next("state")
                .await
                .context("the stream sent no state")?;
            anyhow::Ok(events)
        })
        .buffer_unordered(CONCURRENT_OPENS)
        .try_collect()
        .await
}
