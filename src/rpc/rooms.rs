//! The rooms that the services translate for.

use std::net::SocketAddr;
use std::sync::Arc;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::streams::blocking;
use crate::chain;
use crate::channels::acceptors::ChannelAcceptors;
use crate::channels::anchor_reserve::AnchorReserve;
use crate::channels::channel_events::ChannelFeed;
use crate::channels::close::Closer;
use crate::channels::funding_spends::FundingSpends;
use crate::channels::htlc_feed::HtlcFeed;
use crate::channels::open::Opener;
use crate::invoices::Registry;
use crate::ldk::{ChainMonitor, ChannelManager, KeysManager, NetworkGraph, OutputSweeper};
use crate::log_levels::LogLevels;
use crate::payments::Payments;
use crate::peers::{
    PeerManager, connect::Connector, custom_messages::CustomMessages, reconnect::Reconnector,
};
use crate::routing::asked_route::Routes;
use crate::rpc::Bakery;
use crate::storage::Store;
use crate::wallet::Wallet;
use crate::web::Donations;

/// What a service may ask and order. The node fills it; nothing here decides.
pub struct Rooms {
    pub network: Network,
    pub node_id: PublicKey,
    pub alias: String,
    /// `#rrggbb`.
    pub color: String,
    /// Where peers reach us, `host:port`.
    pub external_addresses: Vec<String>,
    /// Where we listen for peers.
    pub listening: Vec<SocketAddr>,
    /// The feature bits of our `init` and `node_announcement` (BOLT 9).
    pub features: Vec<u32>,
    /// Blocks: the final delta of payments to a public key.
    pub cltv_delta: u32,
    pub manager: Arc<ChannelManager>,
    pub monitors: Arc<ChainMonitor>,
    pub peer_manager: Arc<PeerManager>,
    pub graph: Arc<NetworkGraph>,
    pub chain: chain::sync::Following,
    pub fees: Arc<chain::FeeEstimates>,
    pub broadcaster: Arc<chain::Broadcaster>,
    pub wallet: Arc<Wallet>,
    /// What has to stay in the wallet.
    pub reserve: Arc<AnchorReserve>,
    pub sweeper: Arc<OutputSweeper>,
    pub connector: Arc<Connector>,
    pub reconnector: Arc<Reconnector>,
    pub opener: Arc<Opener>,
    pub closer: Arc<Closer>,
    pub spends: Arc<FundingSpends>,
    pub payments: Arc<Payments>,
    /// For callers who ask for a route.
    pub routes: Arc<Routes>,
    pub invoices: Arc<Registry>,
    /// `None`: there is no donation page.
    pub donations: Option<Arc<Donations>>,
    /// For macaroons.
    pub bakery: Arc<Bakery>,
    /// For the records of closed channels.
    pub store: Arc<Store>,
    /// Cancelled when the node stops; `StopDaemon` cancels it.
    pub stop: CancellationToken,

    /// For signed messages.
    pub keys: Arc<KeysManager>,
    /// For the funding outputs of others' channels.
    pub fundings: Arc<chain::Fundings>,
    pub channel_feed: ChannelFeed,
    /// For callers who decide about channels of peers.
    pub acceptors: ChannelAcceptors,
    pub htlc_feed: HtlcFeed,
    /// Also for who comes and goes.
    pub custom_messages: Arc<CustomMessages>,
    pub levels: Arc<LogLevels>,
}

impl Rooms {
    /// Answers a call that reads much of the database, the graph or the wallet, on a thread of its own.
    ///
    /// # Errors
    /// Those of the call.
    pub(super) async fn read<Q: Send + 'static, A: Send + 'static>(
        self: &Arc<Self>,
        request: Request<Q>,
        call: fn(&Rooms, &Q) -> Result<A, Status>,
    ) -> Result<Response<A>, Status> {
        let rooms = Arc::clone(self);
        let request = request.into_inner();
        blocking(move || call(&rooms, &request))
            .await
            .map(Response::new)
    }
}
