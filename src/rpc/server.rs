//! Both servers: gRPC, and REST beside it, over the same services behind the same guard.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tower_layer::Layer;

use super::Rooms;
use super::chain_notifier::ChainNotifierService;
use super::connections::{self, Connection};
use super::guard::GuardLayer;
use super::invoices::InvoicesService;
use super::lightning::LightningService;
use super::rest::{self, Origins, Rest};
use super::router::RouterService;
use super::state::StateService;
use super::static_invoices::StaticInvoicesService;
use super::tls::{self, Tls};
use super::unlocker::UnlockerService;
use super::versioner::VersionerService;
use super::wallet_kit::WalletKitService;
use lnd_api::proto::DESCRIPTORS;
use lnd_api::proto::ampdrpc::static_invoices_server::StaticInvoicesServer;
use lnd_api::proto::chainrpc::chain_notifier_server::ChainNotifierServer;
use lnd_api::proto::invoicesrpc::invoices_server::InvoicesServer;
use lnd_api::proto::lnrpc::lightning_server::LightningServer;
use lnd_api::proto::lnrpc::state_server::StateServer;
use lnd_api::proto::lnrpc::wallet_unlocker_server::WalletUnlockerServer;
use lnd_api::proto::routerrpc::router_server::RouterServer;
use lnd_api::proto::verrpc::versioner_server::VersionerServer;
use lnd_api::proto::walletrpc::wallet_kit_server::WalletKitServer;

/// Bytes of a request. The largest ones are payment requests and records of a few kilobytes.
const MAX_REQUEST: usize = 1024 * 1024;
/// Bytes of one that needs no macaroon.
const MAX_OPEN_REQUEST: usize = 4 * 1024;

/// Calls at a time on one connection.
const MAX_STREAMS: u32 = 1_000;

/// After as long a silence we ask whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// At the node's end: time for the calls under way to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Where callers are taken, and how.
pub struct Doors {
    pub grpc: TcpListener,
    /// `None`: no REST interface.
    pub rest: Option<TcpListener>,
    pub tls: Tls,
    /// The pages of other sites that may call from a browser.
    pub origins: Origins,
}

/// The server ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the RPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("the descriptors of the services cannot be read: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until `stop` is cancelled. Streams end then; calls that take longer than two seconds to
/// end are left behind.
///
/// # Errors
/// [`ServeError`], if a listener breaks.
pub async fn serve(
    rooms: Arc<Rooms>,
    doors: Doors,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let guard = GuardLayer(rooms.bakery.clone());
    let routes = routes(rooms, &stop).await?;
    let rest = Rest {
        services: guard.layer(routes.clone()),
        origins: doors.origins,
        stop: stop.clone(),
    };
    let tls = Arc::new(doors.tls);
    tokio::spawn(tls::keep_valid(tls.clone(), stop.clone()));
    let acceptor = tls.acceptor(&["h2"]);
    let connections = connections::accept(doors.grpc, acceptor, stop.clone());
    let connections = ReceiverStream::new(connections).map(Ok::<Connection, std::io::Error>);
    let serving = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .layer(guard)
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
    let rest = doors.rest.map(|listener| {
        let acceptor = tls.acceptor(&["h2", "http/1.1"]);
        let connections = connections::accept(listener, acceptor, stop.clone());
        tokio::spawn(rest::serve(rest, connections, DRAIN))
    });
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = serving => ended?,
        () = too_long => tracing::warn!("RPC calls were still under way at the stop"),
    }
    if let Some(rest) = rest {
        // A panic there is in the log.
        let _ = rest.await;
    }
    Ok(())
}

/// All services. What strangers may call has requests of a few bytes.
async fn routes(rooms: Arc<Rooms>, stop: &CancellationToken) -> Result<Routes, ServeError> {
    let lightning = LightningServer::new(LightningService::new(rooms.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let invoices = InvoicesServer::new(InvoicesService::new(rooms.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let router = RouterServer::new(RouterService::new(rooms.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let chain = ChainNotifierServer::new(ChainNotifierService::new(rooms.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let wallet = WalletKitServer::new(WalletKitService::new(rooms.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let ledgers = StaticInvoicesServer::new(StaticInvoicesService::new(rooms, stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1()?
        .max_decoding_message_size(MAX_OPEN_REQUEST);
    let older_reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1alpha()?
        .max_decoding_message_size(MAX_OPEN_REQUEST);
    // It serves from the moment on at which it is asked.
    let (_, health) = tonic_health::server::health_reporter();
    let health = health.max_decoding_message_size(MAX_OPEN_REQUEST);
    let state = StateServer::new(StateService::new(stop.clone()))
        .max_decoding_message_size(MAX_OPEN_REQUEST);
    let unlocker =
        WalletUnlockerServer::new(UnlockerService).max_decoding_message_size(MAX_OPEN_REQUEST);
    let mut routes = Routes::builder();
    routes
        .add_service(lightning)
        .add_service(invoices)
        .add_service(router)
        .add_service(ledgers)
        .add_service(state)
        .add_service(unlocker)
        .add_service(VersionerServer::new(VersionerService))
        .add_service(chain)
        .add_service(wallet)
        .add_service(reflection)
        .add_service(older_reflection)
        .add_service(health);
    Ok(routes.routes())
}

/// What the node's certificate is to name, beside what the configuration adds: this machine.
#[must_use]
pub fn local_names() -> (Vec<IpAddr>, Vec<String>) {
    let addresses = [
        IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    ];
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    let mut domains = vec!["localhost".to_owned()];
    if host != "localhost" && !host.is_empty() {
        domains.push(host);
    }
    (addresses.into(), domains)
}
