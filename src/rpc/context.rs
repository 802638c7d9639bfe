//! The RPC context: the node's modules that the services call.

use std::sync::Arc;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::chain;
use crate::channels::Channels;
use crate::invoices::Registry;
use crate::log_levels::LogLevels;
use crate::message_signing::MessageSigner;
use crate::payments::Payments;
use crate::peers::Peers;
use crate::routing::graph_view::Graph;
use crate::routing::query_routes::Routes;
use crate::rpc::Bakery;
use crate::rpc::transport::streams::blocking;
use crate::wallet::{Funds, Wallet};
use crate::web::Donations;

/// The settings of this node that API clients can see.
pub struct NodeInfo {
    pub network: Network,
    pub id: PublicKey,
    /// Empty if none is configured.
    pub alias: String,
    /// `#rrggbb`.
    pub color: String,
    /// Our public addresses for peers, `host:port`.
    pub addresses: Vec<String>,
    /// The feature bits of our `init` and `node_announcement` (BOLT 9).
    pub features: Vec<u32>,
    /// The default final CLTV delta of payments to a public key, in blocks.
    pub cltv_delta: u32,
}

/// The modules and values of the node that RPC services use, without LDK's objects. Filled by `node`.
pub struct Context {
    pub node: NodeInfo,
    pub channels: Channels,
    pub payments: Arc<Payments>,
    pub invoices: Arc<Registry>,
    pub routes: Routes,
    pub graph: Graph,
    pub peers: Peers,
    pub chain: chain::sync::Following,
    pub fees: Arc<chain::FeeEstimates>,
    pub wallet: Arc<Wallet>,
    /// Changes of the wallet that are on disk, or broadcast, when the call returns.
    pub funds: Funds,
    pub signer: MessageSigner,
    /// Bakes and checks macaroons.
    pub bakery: Arc<Bakery>,
    /// `None` if the donation page is disabled.
    pub donations: Option<Arc<Donations>>,
    pub levels: LogLevels,
    /// Cancelled when the node shuts down; `StopDaemon` cancels it.
    pub stop: CancellationToken,
}

impl Context {
    /// Runs a call that reads much of the database, the graph or the wallet on a blocking thread.
    ///
    /// # Errors
    /// Those of the call.
    pub(in crate::rpc) async fn read<Q: Send + 'static, A: Send + 'static>(
        self: &Arc<Self>,
        request: Request<Q>,
        call: fn(&Context, &Q) -> Result<A, Status>,
    ) -> Result<Response<A>, Status> {
        let context = Arc::clone(self);
        let request = request.into_inner();
        blocking(move || call(&context, &request))
            .await
            .map(Response::new)
    }
}
