//! The gRPC server: all services behind the token, on a listener that the node gives.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::Rooms;
use super::auth::TokenCheck;
use super::invoices::InvoicesService;
use super::lightning::LightningService;
use super::proto::ampdrpc::static_invoices_server::StaticInvoicesServer;
use super::proto::invoicesrpc::invoices_server::InvoicesServer;
use super::proto::lnrpc::lightning_server::LightningServer;
use super::proto::lnrpc::state_server::StateServer;
use super::proto::routerrpc::router_server::RouterServer;
use super::proto::verrpc::versioner_server::VersionerServer;
use super::router::RouterService;
use super::state::StateService;
use super::static_invoices::StaticInvoicesService;
use super::token::Token;
use super::versioner::VersionerService;

/// Bytes of a request. The largest ones are payment requests and records of a few kilobytes.
const MAX_REQUEST: usize = 1024 * 1024;

/// Calls at a time on one connection.
const MAX_STREAMS: u32 = 1_000;

/// After as long a silence we ask whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// At the node's end: time for the calls under way to end.
const DRAIN: Duration = Duration::from_secs(2);

/// The server ended without being told to.
#[derive(Debug, thiserror::Error)]
#[error("the RPC server failed: {0}")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves until `stop` is cancelled. Streams end then; calls that take longer than two seconds to
/// end are left behind.
///
/// The traffic is not encrypted: `listener` must be on a loopback address.
///
/// # Errors
/// [`ServeError`], if the listener breaks.
pub async fn serve(
    rooms: Arc<Rooms>,
    listener: TcpListener,
    token: Token,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let lightning = LightningServer::new(LightningService::new(rooms.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let invoices = InvoicesServer::new(InvoicesService::new(rooms.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let router = RouterServer::new(RouterService::new(rooms.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let ledgers = StaticInvoicesServer::new(StaticInvoicesService::new(rooms, stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    // Without TCP_NODELAY a small answer waits some 40 ms for the client's acknowledgement.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .layer(InterceptorLayer::new(TokenCheck(token)))
        .add_service(lightning)
        .add_service(invoices)
        .add_service(router)
        .add_service(ledgers)
        .add_service(StateServer::new(StateService::new(stop.clone())))
        .add_service(VersionerServer::new(VersionerService))
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = serving => Ok(ended?),
        () = too_long => {
            tracing::warn!("RPC calls were still under way at the stop");
            Ok(())
        }
    }
}
