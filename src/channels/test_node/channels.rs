//! The parts of this module that a test node runs.

use std::sync::Arc;

use lightning::util::config::UserConfig;
use tokio::sync::watch;

use super::parts::{Store, Wallet};
use crate::channels::close::Closer;
use crate::channels::events::EventHandler;
use crate::channels::funding_spends::FundingSpends;
use crate::channels::inbound::Acceptor;
use crate::channels::open::Opener;
use crate::channels::unfunded::UnfundedChannels;
use crate::ldk::ChannelManager;
use crate::peers::PeerManager;
use crate::storage::Health;

pub(super) fn opener(
    manager: &Arc<ChannelManager>,
    peers: &Arc<PeerManager>,
    wallet: &Arc<Wallet>,
    config: UserConfig,
) -> Arc<Opener> {
    let (manager, peers, wallet) = (manager.clone(), peers.clone(), wallet.clone());
    Arc::new(Opener::new(manager, peers, wallet, config))
}

pub(super) fn closer(
    manager: &Arc<ChannelManager>,
    peers: &Arc<PeerManager>,
    spends: &Arc<FundingSpends>,
) -> Closer {
    Closer::new(
        manager.clone(),
        peers.clone(),
        spends.clone(),
        watch::channel(Health::Writing).1,
        Arc::new(|_| {}),
    )
}

pub(super) fn channels(
    manager: &Arc<ChannelManager>,
    opener: &Arc<Opener>,
    acceptor: Acceptor,
    spends: &Arc<FundingSpends>,
    unfunded: &Arc<UnfundedChannels>,
    store: &Arc<Store>,
) -> EventHandler {
    EventHandler::new(
        manager.clone(),
        opener.clone(),
        acceptor,
        spends.clone(),
        unfunded.clone(),
        store.clone(),
        store.clone(),
    )
}
