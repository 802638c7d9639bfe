//! LDK's message handlers, wrapped by ours, and the peer manager.

use std::sync::{Arc, Weak};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{ChannelMessageHandler, OnionMessageHandler, RoutingMessageHandler};
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler};
use lightning::onion_message::messenger::DefaultMessageRouter;
use lightning::routing::gossip::{NodeId, P2PGossipSync};
use lightning::sign::EntropySource;
use tokio::sync::Notify;

use super::StartError;
use super::core::{Core, unix_time};
use super::gossip_queries::GossipQueries;
use super::inbound_htlcs::{NodeChannelMessages, NodeGateway};
use crate::chain::FundingOutputs;
use crate::channel_messages::{ChannelMessages, Commits, OnDisk};
use crate::channels::close::closing_terms;
use crate::config::Config;
use crate::ldk::{ChainMonitor, ChannelManager, GossipSync, OnionMessenger};
use crate::peers::PeerManager;
use crate::peers::custom_messages::CustomMessages;
use crate::peers::drained::TellsDrained;
use crate::peers::onion_messages::BoundedOnionMessages;
use crate::peers::peer_storage::PeerStorage;
use crate::routing::answers::Answers;
use crate::routing::asker::Asker;
use crate::routing::channel_check::{ChannelCheck, Sources};
use crate::routing::checked_gossip::CheckedGossip;
use crate::routing::gossip_handler::GossipHandler;
use crate::storage::Store;
use ldk_amp::Gateway;

/// The message handlers and the peer manager.
pub(super) struct Networking {
    pub(super) gateway: Arc<NodeGateway>,
    pub(super) channel_messages: Arc<NodeChannelMessages>,
    pub(super) gossip: Arc<GossipSync>,
    pub(super) gossip_queries: GossipQueries,
    pub(super) onion_messenger: Arc<OnionMessenger>,
    pub(super) custom_messages: Arc<CustomMessages>,
    pub(super) peer_manager: Arc<PeerManager>,
}

impl Networking {
    /// Builds and connects the handlers. No task is running yet.
    pub(super) fn build(
        config: &Config,
        core: &Core,
        peer_storage: &Arc<PeerStorage>,
        wake: &Arc<Notify>,
    ) -> Result<Self, StartError> {
        let gateway = Arc::new(gateway(core));
        let commits = Arc::new(NodeCommits {
            store: core.store.clone(),
            wake: wake.clone(),
            runtime: tokio::runtime::Handle::current(),
        });
        let channel_messages = channel_messages(config, core, &gateway, peer_storage.clone());
        let channel_messages = channel_messages.committing_by(commits);
        let channel_messages = Arc::new(channel_messages);
        let gossip: Arc<GossipSync> = Arc::new(P2PGossipSync::new(
            core.graph.clone(),
            None,
            core.logger.clone(),
        ));
        let onion_messenger = Arc::new(onion_messenger(core));
        let custom_messages = Arc::new(CustomMessages::default());
        let checked = Arc::new(CheckedGossip::new(gossip.clone(), core.graph.clone()));
        let answers = Arc::new(answers(core));
        let asker = Arc::new(asker(core));
        let handlers = MessageHandler {
            chan_handler: channel_messages.clone() as Arc<dyn ChannelMessageHandler + Send + Sync>,
            route_handler: route_handler(core, &checked, &answers, &asker),
            onion_message_handler: onion_handler(&onion_messenger, &answers),
            custom_message_handler: custom_messages.clone(),
            send_only_message_handler: core.monitors.clone(),
        };
        let peer_manager = Arc::new(peer_manager(core, handlers)?);
        check_channels(core, &checked, &gossip, &peer_manager, &asker);
        let gossip_queries = GossipQueries {
            answers,
            asker,
            messages: custom_messages.clone(),
            peers: peer_manager.clone(),
        };
        Ok(Self {
            gateway,
            channel_messages,
            gossip,
            gossip_queries,
            onion_messenger,
            custom_messages,
            peer_manager,
        })
    }
}

/// The commits that channel messages wait for.
struct NodeCommits {
    store: Arc<Store>,
    /// Notified when messages are ready to be sent.
    wake: Arc<Notify>,
    runtime: tokio::runtime::Handle,
}

impl Commits for NodeCommits {
    fn request(&self) -> OnDisk {
        let barrier = self.store.barrier();
        let (store, wake) = (self.store.clone(), self.wake.clone());
        self.runtime.spawn(async move {
            store.passed(barrier).await;
            wake.notify_one();
        });
        let store = self.store.clone();
        Box::new(move || store.is_passed(barrier))
    }
}

fn gateway(core: &Core) -> NodeGateway {
    let (manager, signer) = (core.manager.clone(), core.onion_signer.clone());
    Gateway::new(manager, signer, core.envelope_key.clone())
}

fn channel_messages(
    config: &Config,
    core: &Core,
    gateway: &Arc<NodeGateway>,
    peer_storage: Arc<PeerStorage>,
) -> NodeChannelMessages {
    let (closing, listing) = (core.manager.clone(), core.manager.clone());
    ChannelMessages::new(gateway.clone())
        .announcing_keysend(config.accept_keysend)
        .closing_by(move |peer, channel| closing_terms(&closing, peer, channel))
        .knowing_channels(move |peer| listing.list_channels_with_counterparty(peer))
        .storing_by(peer_storage)
}

fn onion_messenger(core: &Core) -> OnionMessenger {
    OnionMessenger::new(
        core.keys.clone(),
        core.keys.clone(),
        core.logger.clone(),
        core.manager.clone(),
        Arc::new(DefaultMessageRouter::new(
            core.graph.clone(),
            core.keys.clone(),
        )),
        core.manager.clone(),
        IgnoringMessageHandler {},
        IgnoringMessageHandler {},
        IgnoringMessageHandler {},
    )
}

/// The handlers to which LDK dispatches peer messages.
type Handlers = MessageHandler<
    Arc<dyn ChannelMessageHandler + Send + Sync>,
    Arc<dyn RoutingMessageHandler + Send + Sync>,
    Arc<dyn OnionMessageHandler + Send + Sync>,
    Arc<CustomMessages>,
    Arc<ChainMonitor>,
>;

fn answers(core: &Core) -> Answers {
    let manager = core.manager.clone();
    Answers::new(core.graph.clone(), move |peer| {
        let channels = manager.list_channels_with_counterparty(peer);
        channels.iter().any(|channel| channel.is_channel_ready)
    })
}

fn asker(core: &Core) -> Asker {
    let manager = core.manager.clone();
    Asker::new(core.graph.clone(), move || {
        manager.current_best_block().height
    })
}

fn route_handler(
    core: &Core,
    gossip: &Arc<CheckedGossip>,
    answers: &Arc<Answers>,
    asker: &Arc<Asker>,
) -> Arc<dyn RoutingMessageHandler + Send + Sync> {
    Arc::new(GossipHandler::new(
        gossip.clone(),
        core.graph.clone(),
        NodeId::from_pubkey(&core.node_id),
        answers.clone(),
        asker.clone(),
    ))
}

/// LDK polls for the next onion message only when a peer's send buffer has room for low-priority
/// messages; that is when gossip answers may be sent as well.
fn onion_handler(
    onion_messenger: &Arc<OnionMessenger>,
    answers: &Arc<Answers>,
) -> Arc<dyn OnionMessageHandler + Send + Sync> {
    let answers = answers.clone();
    let bounded = Arc::new(BoundedOnionMessages::new(onion_messenger.clone()));
    Arc::new(TellsDrained::new(bounded, move |peer| {
        answers.drained(peer);
    }))
}

/// Enables the check of announced channels against the chain.
///
/// A pruned bitcoind lacks the blocks of old channels, and a failed look-up counts as a missing output,
/// so all old channels would be rejected. In that case the check is skipped with a warning; a forged
/// announcement then costs at most a failed payment attempt.
fn check_channels(
    core: &Core,
    checked: &CheckedGossip,
    gossip: &Arc<GossipSync>,
    peers: &Arc<PeerManager>,
    asker: &Arc<Asker>,
) {
    if core.chain_info.pruned {
        tracing::warn!("bitcoind is pruned: announced channels are not checked against the chain");
        return;
    }
    let (ours, chain) = (core.manager.clone(), core.manager.clone());
    let (own, asker) = (core.manager.clone(), asker.clone());
    // Weak because the peer manager owns the check.
    let peers = Arc::downgrade(peers);
    checked.check_with(ChannelCheck::new(Sources {
        outputs: FundingOutputs::new(core.bitcoind.clone()),
        graph: core.graph.clone(),
        gossip: gossip.clone(),
        finish_lookup: Box::new(move |unwanted| finish_lookup(&peers, unwanted)),
        has_channel: Box::new(move |peer| !ours.list_channels_with_counterparty(peer).is_empty()),
        own_id: NodeId::from_pubkey(&core.node_id),
        own_capacity: Box::new(move |scid| own_capacity(&own, scid)),
        has_asked: Box::new(move |peer, scid| asker.has_asked(peer, scid)),
        height: Box::new(move || chain.current_best_block().height),
        runtime: tokio::runtime::Handle::current(),
    }));
}

/// Disconnects a peer whose announcements are invalid, and lets LDK continue.
fn finish_lookup(peers: &Weak<PeerManager>, unwanted: Option<PublicKey>) {
    let Some(peers) = peers.upgrade() else {
        return;
    };
    if let Some(peer) = unwanted {
        peers.disconnect_by_node_id(peer);
    }
    peers.process_events();
}

fn own_capacity(manager: &ChannelManager, scid: u64) -> Option<u64> {
    let channels = manager.list_channels().into_iter();
    let ours = channels.filter(|channel| channel.short_channel_id == Some(scid));
    ours.map(|channel| channel.channel_value_satoshis).next()
}

fn peer_manager(core: &Core, handlers: Handlers) -> Result<PeerManager, StartError> {
    let random = core.keys.get_secure_random_bytes();
    let now = unix_time()?;
    Ok(PeerManager::new(
        handlers,
        now,
        &random,
        core.logger.clone(),
        core.keys.clone(),
    ))
}
