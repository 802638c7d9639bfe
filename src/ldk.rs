//! Type aliases for LDK's types with this node's type parameters.
//!
//! LDK's types are generic over each other. Where LDK allows it, the parameters are trait objects, so
//! that a module can use `Arc<ChannelManager>` without depending on the wallet, the chain and the
//! storage. The cost of a virtual call is negligible compared with a signature or an fsync.

mod channel_signer;

use std::sync::{Arc, RwLock};

use lightning::chain::{self, chaininterface};
use lightning::ln::peer_handler::IgnoringMessageHandler;
use lightning::onion_message::messenger::DefaultMessageRouter;
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::{ProbabilisticScorer, ProbabilisticScoringFeeParameters};
use lightning::routing::utxo::UtxoLookup;
use lightning::sign;
use lightning::util::persist::KVStoreSync;

use crate::logging::ldk::LdkLogger;

pub use channel_signer::ChannelSigner;
pub use lightning::sign::KeysManager;

pub type Broadcaster = dyn chaininterface::BroadcasterInterface + Send + Sync;
pub type FeeEstimator = dyn chaininterface::FeeEstimator + Send + Sync;
pub type ChainFilter = dyn chain::Filter + Send + Sync;
pub type ChainWatch = dyn chain::Watch<ChannelSigner> + Send + Sync;
pub type SignerProvider = dyn sign::SignerProvider<EcdsaSigner = ChannelSigner> + Send + Sync;
pub type NodeSigner = dyn sign::NodeSigner + Send + Sync;
pub type MonitorPersister = dyn chain::chainmonitor::Persist<ChannelSigner> + Send + Sync;
pub type KeyValueStore = dyn KVStoreSync + Send + Sync;

pub type NetworkGraph = lightning::routing::gossip::NetworkGraph<Arc<LdkLogger>>;
/// Funding outputs are checked by `routing::channel_check`, not by LDK's gossip sync.
pub type GossipSync = lightning::routing::gossip::P2PGossipSync<
    Arc<NetworkGraph>,
    Arc<dyn UtxoLookup + Send + Sync>,
    Arc<LdkLogger>,
>;
pub type Scorer = RwLock<ProbabilisticScorer<Arc<NetworkGraph>, Arc<LdkLogger>>>;
pub type Router = DefaultRouter<
    Arc<NetworkGraph>,
    Arc<LdkLogger>,
    Arc<KeysManager>,
    Arc<Scorer>,
    ProbabilisticScoringFeeParameters,
    ProbabilisticScorer<Arc<NetworkGraph>, Arc<LdkLogger>>,
>;
pub type MessageRouter = DefaultMessageRouter<Arc<NetworkGraph>, Arc<LdkLogger>, Arc<KeysManager>>;

pub type ChannelMonitor = chain::channelmonitor::ChannelMonitor<ChannelSigner>;
pub type ChainMonitor = chain::chainmonitor::ChainMonitor<
    ChannelSigner,
    Arc<ChainFilter>,
    Arc<Broadcaster>,
    Arc<FeeEstimator>,
    Arc<LdkLogger>,
    Arc<MonitorPersister>,
    Arc<KeysManager>,
>;
pub type ChannelManager = lightning::ln::channelmanager::ChannelManager<
    Arc<ChainWatch>,
    Arc<Broadcaster>,
    Arc<KeysManager>,
    Arc<NodeSigner>,
    Arc<SignerProvider>,
    Arc<FeeEstimator>,
    Arc<Router>,
    Arc<MessageRouter>,
    Arc<LdkLogger>,
>;
pub type OnionMessenger = lightning::onion_message::messenger::OnionMessenger<
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<LdkLogger>,
    Arc<ChannelManager>,
    Arc<MessageRouter>,
    Arc<ChannelManager>,
    IgnoringMessageHandler,
    IgnoringMessageHandler,
    IgnoringMessageHandler,
>;
pub type OutputSweeper = lightning::util::sweep::OutputSweeperSync<
    Arc<Broadcaster>,
    Arc<dyn sign::ChangeDestinationSourceSync + Send + Sync>,
    Arc<FeeEstimator>,
    Arc<ChainFilter>,
    Arc<KeyValueStore>,
    Arc<LdkLogger>,
    Arc<KeysManager>,
>;
