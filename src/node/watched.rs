//! The channel manager as LDK's loop sees it: without a reason to write it.

use std::sync::Arc;

use lightning::ln::channelmanager::AChannelManager;
use lightning::sign::InMemorySigner;

use crate::ldk::{
    Broadcaster, ChainWatch, ChannelManager, FeeEstimator, KeysManager, MessageRouter, Router,
    SignerProvider,
};
use crate::logger::LdkLogger;
use crate::storage::Store;

/// LDK's loop encodes the whole manager each time something in it has changed, and hands the bytes to
/// a store that takes snapshots of its own (see [`crate::storage`]). Half of all encodings would be
/// for nothing, and each holds up channels and events.
///
/// The loop asks for the manager before everything that it does with it. Here each time the mark of a
/// change is taken away, and the store is asked for a snapshot instead: the same as the loop's own
/// write would come to. A change in the moment between is written in the loop's way.
pub(super) struct Watched {
    pub(super) manager: Arc<ChannelManager>,
    pub(super) store: Arc<Store>,
}

impl AChannelManager for Watched {
    type Watch = ChainWatch;
    type M = Arc<ChainWatch>;
    type Broadcaster = Broadcaster;
    type T = Arc<Broadcaster>;
    type EntropySource = KeysManager;
    type ES = Arc<KeysManager>;
    type NodeSigner = KeysManager;
    type NS = Arc<KeysManager>;
    type Signer = InMemorySigner;
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
