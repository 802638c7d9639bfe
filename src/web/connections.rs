//! Visitors' connections: plain HTTP, with limits on the resources of each.

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

/// Maximum number of concurrent event streams; further pages ask the visitor to reload instead.
const MAX_STREAMS: usize = 2_000;
/// Maximum number of connections without an event stream; further ones wait in the listen queue.
const MAX_OTHER_CONNECTIONS: usize = 200;
/// Files reserved for the rest of the node: database, peers and API clients.
const RESERVED_FILES: u64 = 1_000;
/// Time for a request header to arrive; idle connections are closed after the same time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that accepts no data for this long is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a request header and of the send buffer, in bytes.
const MAX_BUFFER: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// Delay after a failed accept, for example when the process is out of files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Time for responses in progress at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of visitors that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    pub streams: usize,
}

impl Capacity {
    /// Derives the capacity from the open file limit, less the files reserved for the node.
    #[must_use]
    pub fn of_this_process() -> Self {
        let files = open_files::limit();
        let capacity = Self::with_files(files);
        if capacity.streams < MAX_STREAMS {
            let streams = capacity.streams;
            tracing::warn!(
                files,
                streams,
                "the open file limit reduces the number of event streams for the donation page"
            );
        }
        capacity
    }

    fn with_files(files: u64) -> Self {
        let left = files.saturating_sub(MAX_OTHER_CONNECTIONS as u64 + RESERVED_FILES);
        let streams = usize::try_from(left).unwrap_or(MAX_STREAMS);
        Self {
            // With a low limit, these streams use some of the files reserved for the node.
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
    // Connections still open after that are dropped.
    let _ = timeout(DRAIN_TIMEOUT, visitors.wait()).await;
}

async fn accept(
    listener: &TcpListener,
    capacity: Capacity,
    router: &Router,
    visitors: &TaskTracker,
    stop: &CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(capacity.streams + MAX_OTHER_CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                visitors.spawn(serve_one(stream, router.clone(), slot, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a donation page connection");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

async fn serve_one(
    stream: TcpStream,
    router: Router,
    _slot: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    // Otherwise a small event may wait for the ACK of the previous one (Nagle).
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
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
        tracing::debug!(%error, "donation page connection failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_leaves_files_for_the_node() {
        let streams = |files| Capacity::with_files(files).streams;
        assert_eq!(streams(u64::MAX), MAX_STREAMS);
        assert_eq!(streams(3_200), MAX_STREAMS);
        assert_eq!(streams(2_200), 1_000);
        assert_eq!(streams(1_024), 50);
    }
}
