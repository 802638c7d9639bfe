//! The gRPC and REST servers, which share the services and the macaroon check.

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

use crate::rpc::Context;
use crate::rpc::services::chain_notifier::ChainNotifierService;
use crate::rpc::services::invoices::InvoicesService;
use crate::rpc::services::lightning::LightningService;
use crate::rpc::services::router::RouterService;
use crate::rpc::services::state::StateService;
use crate::rpc::services::static_invoices::StaticInvoicesService;
use crate::rpc::services::versioner::VersionerService;
use crate::rpc::services::wallet_kit::WalletKitService;
use crate::rpc::services::wallet_unlocker::WalletUnlockerService;
use crate::rpc::transport::auth::AuthLayer;
use crate::rpc::transport::connections::{self, Connection};
use crate::rpc::transport::rest::{self, Origins, Rest};
use crate::rpc::transport::tls::{self, Tls};
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

/// The maximum size of a request in bytes. The largest real ones, with payment requests and custom
/// records, have a few kilobytes.
const MAX_REQUEST: usize = 1024 * 1024;
/// The maximum size of a request that needs no macaroon, in bytes.
const MAX_OPEN_REQUEST: usize = 4 * 1024;

/// The maximum number of concurrent calls per connection.
const MAX_STREAMS: u32 = 1_000;

/// The interval of HTTP/2 keepalive pings.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// How long shutdown waits for running calls to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The listeners for API clients and their settings.
pub struct Listeners {
    pub grpc: TcpListener,
    /// `None` disables the REST API.
    pub rest: Option<TcpListener>,
    pub tls: Tls,
    /// The web origins that may call the REST API from a browser (CORS).
    pub origins: Origins,
}

/// Errors that end the RPC server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("RPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("cannot read the service descriptors for gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until `stop` is cancelled. Streams end then; calls that take longer than two more seconds
/// are dropped.
///
/// # Errors
/// [`ServeError`] if a listener fails.
pub async fn serve(
    context: Arc<Context>,
    listeners: Listeners,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let guard = AuthLayer(context.bakery.clone());
    let routes = routes(context, &stop).await?;
    let rest = Rest {
        services: guard.layer(routes.clone()),
        origins: listeners.origins,
        stop: stop.clone(),
    };
    let tls = Arc::new(listeners.tls);
    tokio::spawn(tls::keep_valid(tls.clone(), stop.clone()));
    let acceptor = tls.acceptor(&["h2"]);
    let connections = connections::accept(listeners.grpc, acceptor, stop.clone());
    let connections = ReceiverStream::new(connections).map(Ok::<Connection, std::io::Error>);
    let serving = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .layer(guard)
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
    let rest = listeners.rest.map(|listener| {
        let acceptor = tls.acceptor(&["h2", "http/1.1"]);
        let connections = connections::accept(listener, acceptor, stop.clone());
        tokio::spawn(rest::serve(rest, connections, DRAIN_TIMEOUT))
    });
    let drain_timeout = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        ended = serving => ended?,
        () = drain_timeout => tracing::warn!("shutdown interrupted running RPC calls"),
    }
    if let Some(rest) = rest {
        // A panic of that task is already logged.
        let _ = rest.await;
    }
    Ok(())
}

/// Returns all services. Those that need no macaroon accept only small requests.
async fn routes(context: Arc<Context>, stop: &CancellationToken) -> Result<Routes, ServeError> {
    let lightning = LightningServer::new(LightningService::new(context.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let invoices = InvoicesServer::new(InvoicesService::new(context.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let router = RouterServer::new(RouterService::new(context.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let chain = ChainNotifierServer::new(ChainNotifierService::new(context.clone(), stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let wallet = WalletKitServer::new(WalletKitService::new(context.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let ledgers = StaticInvoicesServer::new(StaticInvoicesService::new(context, stop.clone()))
        .max_decoding_message_size(MAX_REQUEST);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1()?
        .max_decoding_message_size(MAX_OPEN_REQUEST);
    let older_reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1alpha()?
        .max_decoding_message_size(MAX_OPEN_REQUEST);
    // The overall health is SERVING from the start, so the reporter is not needed.
    let (_, health) = tonic_health::server::health_reporter();
    let health = health.max_decoding_message_size(MAX_OPEN_REQUEST);
    let state = StateServer::new(StateService::new(stop.clone()))
        .max_decoding_message_size(MAX_OPEN_REQUEST);
    let unlocker = WalletUnlockerServer::new(WalletUnlockerService)
        .max_decoding_message_size(MAX_OPEN_REQUEST);
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

/// Returns this machine's addresses and names for the TLS certificate; the configuration adds others.
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
