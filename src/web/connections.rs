//! Connections of visitors: plain HTTP, with limits on what each may cost.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::donations::Donations;
use super::pages::Site;
use crate::open_files;

/// Event streams at a time; a further page is told to reload instead.
const MAX_STREAMS: usize = 2_000;
/// Connections beside those with an event stream; further ones wait in the system's queue.
const OTHERS: usize = 200;
/// Files that the rest of the node may need: its database, its peers, its callers.
const OF_THE_NODE: u64 = 1_000;
/// For the header of a request to arrive; a connection without a request is closed after as long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Who takes nothing for so long is gone, or does not want it.
const SLOWEST_READ: Duration = Duration::from_secs(30);
/// Bytes of a header, and of what waits to be sent.
const MAX_BUFFER: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// The pause after the system refused a connection, such as for want of files.
const PAUSE: Duration = Duration::from_millis(100);
/// At the node's end: time for answers under way.
const DRAIN: Duration = Duration::from_secs(2);

/// How many visitors there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    pub streams: usize,
}

impl Capacity {
    /// Each visitor is a file to the system: takes what is left beside the node's own.
    #[must_use]
    pub fn of_this_process() -> Self {
        let files = open_files::limit();
        let capacity = Self::with_files(files);
        if capacity.streams < MAX_STREAMS {
            let streams = capacity.streams;
            tracing::warn!(
                files,
                streams,
                "the limit of open files leaves fewer event streams for the donation page"
            );
        }
        capacity
    }

    fn with_files(files: u64) -> Self {
        let left = files.saturating_sub(OTHERS as u64 + OF_THE_NODE);
        let streams = usize::try_from(left).unwrap_or(MAX_STREAMS);
        Self {
            // With few files the node's own reserve has to share.
            streams: streams.clamp(50, MAX_STREAMS),
        }
    }
}

/// Serves the page until `stop` is cancelled.
pub async fn serve(
    donations: Arc<Donations>,
    listener: TcpListener,
    capacity: Capacity,
    stop: CancellationToken,
) {
    let router = Site::new(donations, capacity.streams, stop.clone()).router();
    let visitors = TaskTracker::new();
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept(&listener, capacity, &router, &visitors, &stop) => {}
    }
    drop(listener);
    visitors.close();
    // Whatever is left then is dropped.
    let _ = timeout(DRAIN, visitors.wait()).await;
}

async fn accept(
    listener: &TcpListener,
    capacity: Capacity,
    router: &Router,
    visitors: &TaskTracker,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(capacity.streams + OTHERS));
    // Nobody closes the semaphore.
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                visitors.spawn(serve_one(stream, router.clone(), place, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a visitor's connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn serve_one(
    stream: TcpStream,
    router: Router,
    _place: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    // Without it a small event may wait for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(SLOWEST_READ));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_BUFFER)
        .max_headers(MAX_HEADERS)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router),
        );
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a visitor's connection has failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_never_take_the_files_that_the_node_needs() {
        let streams = |files| Capacity::with_files(files).streams;
        assert_eq!(streams(u64::MAX), MAX_STREAMS);
        assert_eq!(streams(3_200), MAX_STREAMS);
        assert_eq!(streams(2_200), 1_000);
        assert_eq!(streams(1_024), 50);
    }
}
