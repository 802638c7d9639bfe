//! The HTTP server of the REST API: HTTP/1.1 and HTTP/2, with limits per client.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::Rest;
use crate::rpc::transport::connections::Connection;

/// How long to wait for a request header; also closes idle connections.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum size of a request header in bytes, including the macaroon.
const MAX_HEADER: usize = 64 * 1024;
/// The maximum number of concurrent calls per connection.
const MAX_STREAMS: u32 = 100;
/// The interval of HTTP/2 keepalive pings.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// Serves until all connections have ended; on shutdown, running calls have `drain` to end.
pub(in crate::rpc) async fn serve(
    rest: Rest,
    mut connections: mpsc::Receiver<Connection>,
    drain: Duration,
) {
    let mut served = JoinSet::new();
    while let Some(connection) = connections.recv().await {
        served.spawn(serve_one(rest.clone(), connection));
        while served.try_join_next().is_some() {}
    }
    // The remaining connections are dropped.
    let _ = timeout(drain, served.join_all()).await;
}

async fn serve_one(rest: Rest, connection: Connection) {
    let caller = connection.connect_info();
    let stop: CancellationToken = rest.stop.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = rest.clone().answer(request.map(Body::new), caller.clone());
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .max_header_list_size(MAX_HEADER as u32)
        .max_concurrent_streams(MAX_STREAMS);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(connection), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection of an API client failed");
    }
}
