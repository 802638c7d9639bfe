//! The RPC context: the node's modules that the services call.

use std::sync::Arc;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::chain;
use crate::channels::acceptors::ChannelAcceptors;
use crate::channels::anchor_reserve::AnchorReserve;
use crate::channels::channel_events::ChannelFeed;
use crate::channels::close::Closer;
use crate::channels::funding_spends::FundingSpends;
use crate::channels::htlc_feed::HtlcFeed;
use crate::channels::open::Opener;
use crate::invoices::Registry;
use crate::ldk::{ChainMonitor, ChannelManager, OutputSweeper};
use crate::log_levels::LogLevels;
use crate::message_signing::MessageSigner;
use crate::payments::Payments;
use crate::peers::{PeerManager, Peers};
use crate::routing::asked_route::Routes;
use crate::routing::view::Graph;
use crate::rpc::Bakery;
use crate::rpc::transport::streams::blocking;
use crate::storage::Store;
use crate::wallet::Wallet;
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

/// The modules and values of the node that RPC services use. Filled by `node`.
pub struct Context {
    pub node: NodeInfo,
    pub manager: Arc<ChannelManager>,
    pub monitors: Arc<ChainMonitor>,
    pub peer_manager: Arc<PeerManager>,
    pub graph: Graph,
    pub chain: chain::sync::Following,
    pub fees: Arc<chain::FeeEstimates>,
    pub broadcaster: Arc<chain::Broadcaster>,
    pub wallet: Arc<Wallet>,
    /// The on-chain reserve for fee bumping of anchor channels.
    pub reserve: Arc<AnchorReserve>,
    pub sweeper: Arc<OutputSweeper>,
    pub peers: Peers,
    pub opener: Arc<Opener>,
    pub closer: Arc<Closer>,
    pub spends: Arc<FundingSpends>,
    pub payments: Arc<Payments>,
    pub routes: Routes,
    pub invoices: Arc<Registry>,
    /// `None` if the donation page is disabled.
    pub donations: Option<Arc<Donations>>,
    /// Bakes and checks macaroons.
    pub bakery: Arc<Bakery>,
    /// The database, with the records of closed channels.
    pub store: Arc<Store>,
    /// Cancelled when the node shuts down; `StopDaemon` cancels it.
    pub stop: CancellationToken,

    pub signer: MessageSigner,
    pub channel_feed: ChannelFeed,
    /// API clients that accept or reject inbound channels (`ChannelAcceptor`).
    pub acceptors: ChannelAcceptors,
    pub htlc_feed: HtlcFeed,
    pub levels: Arc<LogLevels>,
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
