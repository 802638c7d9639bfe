//! The channel manager as LDK's event loop sees it: never in need of persistence.

use std::sync::Arc;

use lightning::ln::channelmanager::AChannelManager;

use crate::ldk::{
    Broadcaster, ChainWatch, ChannelManager, ChannelSigner, FeeEstimator, KeysManager,
    MessageRouter, NodeSigner, Router, SignerProvider,
};
use crate::logging::ldk::LdkLogger;
use crate::storage::Store;

/// LDK's event loop encodes the whole manager whenever it has changed, but the store takes its own
/// snapshots (see [`crate::storage`]). Half of all encodings would be wasted, and each one blocks channels
/// and events.
///
/// The loop calls `get_cm` before every use of the manager. Each call clears the manager's persistence flag
/// and requests a snapshot from the store, which has the same effect as the loop's own write. A change
/// after that call is written by the loop.
pub(super) struct UnpersistedManager {
    pub(super) manager: Arc<ChannelManager>,
    pub(super) store: Arc<Store>,
}

impl AChannelManager for UnpersistedManager {
    type Watch = ChainWatch;
    type M = Arc<ChainWatch>;
    type Broadcaster = Broadcaster;
    type T = Arc<Broadcaster>;
    type EntropySource = KeysManager;
    type ES = Arc<KeysManager>;
    type NodeSigner = NodeSigner;
    type NS = Arc<NodeSigner>;
    type Signer = ChannelSigner;
    type SignerProvider = SignerProvider;
    type SP = Arc<SignerProvider>;
    type FeeEstimator = FeeEstimator;
    type F = Arc<FeeEstimator>;
    type Router = Router;
    type R = Arc<Router>;
    type MessageRouter = MessageRouter;
    type MR = Arc<MessageRouter>;
    type Logger = LdkLogger;
    type L = Arc<LdkLogger>;

    fn get_cm(&self) -> &ChannelManager {
        if self.manager.get_and_clear_needs_persistence() {
            self.store.manager_changed();
        }
        &self.manager
    }
}
