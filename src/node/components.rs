//! The components around LDK's core, built and connected. No task is running yet.

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::events::EventsProvider;
use lightning_types::routing::RouteHint;
use tokio::sync::Notify;

use super::StartError;
use super::bump::Bumper;
use super::chain_listener::ChainListener;
use super::core::Core;
use super::events::EventHandler;
use super::funding::Funding;
use super::gossip_queries::GossipQueries;
use super::inbound_htlcs::{ManagerInboundHtlcs, NodeGateway};
use super::known_peers::KnownPeers;
use super::networking::Networking;
use super::outbound_htlcs::ManagerOutboundHtlcs;
use super::peer_channels::ManagerPeers;
use super::snapshot::NodeSnapshot;
use super::store_adapters::StoreAdapters;
use crate::channels;
use crate::channels::close::{BroadcastCommitment, Closer};
use crate::channels::htlc_feed::HtlcFeed;
use crate::channels::inbound::{AcceptRules, Acceptor, ForcedCloseFunds, MAX_PENDING_PER_PEER};
use crate::channels::open::Opener;
use crate::config::Config;
use crate::invoices::{self, Registry};
use crate::ldk::{FeeEstimator, GossipSync, OnionMessenger};
use crate::payments::Payments;
use crate::peers::PeerManager;
use crate::peers::address_book::ChannelPeers;
use crate::peers::custom_messages::CustomMessages;
use crate::peers::peer_storage::PeerStorage;
use crate::peers::{Connector, Reconnector, connection};
use crate::routing::finder::RouteFinder;
use crate::routing::route_hints::own_hints;
use ldk_amp::SetLimits;

/// The components around LDK's core.
pub(super) struct Components {
    pub(super) gossip: Arc<GossipSync>,
    pub(super) gossip_queries: GossipQueries,
    pub(super) onion_messenger: Arc<OnionMessenger>,
    pub(super) peer_manager: Arc<PeerManager>,
    pub(super) custom_messages: Arc<CustomMessages>,
    pub(super) funded_peers: Arc<ChannelPeers>,
    pub(super) peer_storage: Arc<PeerStorage>,
    pub(super) connector: Arc<Connector>,
    pub(super) reconnector: Arc<Reconnector>,
    pub(super) opener: Arc<Opener>,
    pub(super) closer: Arc<Closer>,
    pub(super) invoices: Arc<Registry>,
    pub(super) payments: Arc<Payments>,
    pub(super) events: Arc<EventHandler>,
    pub(super) listener: Arc<ChainListener>,
    pub(super) bumper: Arc<Bumper>,
    /// Notified when messages or HTLCs are ready to be sent or processed.
    pub(super) wake: Arc<Notify>,
}

impl Components {
    /// Builds the components. From this point on, commits include the channel manager.
    pub(super) fn build(config: &Config, core: &Core) -> Result<Self, StartError> {
        let wake = core.updates.wake().clone();
        attach_snapshots(core, &wake);
        let peer_storage = Arc::new(PeerStorage::open(
            core.store.clone(),
            Arc::new(ManagerPeers(core.manager.clone())),
        )?);
        let Networking {
            gateway,
            channel_messages,
            gossip,
            gossip_queries,
            onion_messenger,
            custom_messages,
            peer_manager,
        } = Networking::build(config, core, &peer_storage, &wake)?;
        let (connector, reconnector) = connectors(core, &peer_manager);
        let opener = Arc::new(opener(core, &peer_manager));
        let invoices = Arc::new(invoices(config, core, &gateway)?);
        let channels = channels(config, core, &opener, &peer_manager);
        let payments = payments(core, channels.htlcs())?;
        let events = Arc::new(EventHandler {
            channels,
            invoices: invoices.clone(),
            payments: payments.clone(),
            gateway,
            channel_messages,
            envelope_key: core.envelope_key.clone(),
            wallet: core.wallet.clone(),
            sweeper: core.sweeper.clone(),
            gate: core.gate.clone(),
            wake: wake.clone(),
        });
        let closer = Arc::new(Closer::new(
            core.manager.clone(),
            peer_manager.clone(),
            core.spends.clone(),
            core.store.health(),
            broadcast_commitment(core, &events),
        ));
        Ok(Self {
            gossip,
            gossip_queries,
            onion_messenger,
            peer_manager,
            custom_messages,
            funded_peers: funded_peers(core),
            listener: chain_listener(core, &invoices),
            peer_storage,
            connector,
            reconnector,
            opener,
            closer,
            invoices,
            payments,
            events,
            bumper: Arc::new(bumper(core)),
            wake,
        })
    }
}

/// From now on, commits include a snapshot of the channel manager.
fn attach_snapshots(core: &Core, wake: &Arc<Notify>) {
    core.store.attach(Arc::new(NodeSnapshot {
        manager: core.manager.clone(),
        monitors: core.monitors.clone(),
        wake: wake.clone(),
    }));
}

/// Connects to peers on request, and keeps us connected to those with channels.
fn connectors(core: &Core, peers: &Arc<PeerManager>) -> (Arc<Connector>, Arc<Reconnector>) {
    let channel_peers = channel_peers(core);
    let adapters = Arc::new(StoreAdapters(core.store.clone()));
    let connector = Arc::new(Connector::new(
        connection::Context {
            peers: peers.clone(),
            commits: adapters.clone(),
        },
        core.node_id,
        adapters.clone(),
        channel_peers.clone(),
    ));
    let reconnector = Arc::new(Reconnector::new(
        connector.clone(),
        adapters,
        channel_peers,
        core.graph.clone(),
    ));
    (connector, reconnector)
}

fn chain_listener(core: &Core, invoices: &Arc<Registry>) -> Arc<ChainListener> {
    Arc::new(ChainListener {
        wallet: core.wallet.clone(),
        spends: core.spends.clone(),
        manager: core.manager.clone(),
        monitors: core.monitors.clone(),
        sweeper: core.sweeper.clone(),
        invoices: invoices.clone(),
    })
}

fn channel_peers(core: &Core) -> Arc<ChannelPeers> {
    let manager = core.manager.clone();
    Arc::new(move || -> HashSet<PublicKey> {
        manager
            .list_channels()
            .into_iter()
            .map(|channel| channel.counterparty.node_id)
            .collect()
    })
}

/// The peers whose connections are kept when many unknown peers connect. Channels opened by a peer count
/// only once their funding is known, because opening a channel without one costs the peer nothing.
fn funded_peers(core: &Core) -> Arc<ChannelPeers> {
    let (manager, unfunded) = (core.manager.clone(), core.unfunded.clone());
    Arc::new(move || -> HashSet<PublicKey> {
        let mut channels = manager.list_channels();
        channels.retain(|channel| {
            let is_named = channel.funding_txo.is_some();
            channel.is_outbound || (is_named && !unfunded.has_unseen_funding(channel))
        });
        let peers = channels.iter();
        peers.map(|channel| channel.counterparty.node_id).collect()
    })
}

fn opener(core: &Core, peer_manager: &Arc<PeerManager>) -> Opener {
    let funding = Arc::new(Funding {
        wallet: core.wallet.clone(),
        fees: core.fees.clone(),
        bitcoind: core.bitcoind.clone(),
        reserve: core.reserve.clone(),
    });
    Opener::new(
        core.manager.clone(),
        peer_manager.clone(),
        funding,
        core.channel_config.clone(),
    )
}

fn channels(
    config: &Config,
    core: &Core,
    opener: &Arc<Opener>,
    peer_manager: &Arc<PeerManager>,
) -> channels::EventHandler {
    let rules = AcceptRules {
        min_channel_sat: config.min_channel_size_sat,
        max_pending_per_peer: MAX_PENDING_PER_PEER,
        require_reserve: config.require_anchor_reserve,
    };
    let (reserve, fees) = (core.reserve.clone(), core.fees.clone());
    let funds = move || ForcedCloseFunds {
        missing: reserve.missing_with(1),
        mempool_min_sat_per_kw: fees.mempool_min_sat_per_kw(),
    };
    let known_peers = KnownPeers {
        peers: peer_manager.clone(),
        manager: core.manager.clone(),
        graph: core.graph.clone(),
        graph_is_verified: !core.chain_info.pruned,
    };
    let adapters = Arc::new(StoreAdapters(core.store.clone()));
    channels::EventHandler::new(
        core.manager.clone(),
        opener.clone(),
        Acceptor::new(
            core.manager.clone(),
            rules,
            Arc::new(funds),
            core.unfunded.clone(),
            Arc::new(known_peers),
        ),
        core.spends.clone(),
        core.unfunded.clone(),
        adapters.clone(),
        adapters,
    )
}

/// Broadcasts the latest commitment of a channel. At startup LDK may have tried this already without
/// success; then the broadcast is repeated. The fee bump event is handled immediately instead of in the
/// next iteration of LDK's event loop.
pub(super) fn broadcast_commitment(
    core: &Core,
    events: &Arc<EventHandler>,
) -> Arc<BroadcastCommitment> {
    let (monitors, events) = (core.monitors.clone(), events.clone());
    let (broadcaster, logger) = (core.ldk_broadcaster.clone(), core.logger.clone());
    let fees: Arc<FeeEstimator> = core.fees.clone();
    Arc::new(move |channel_id| {
        if let Ok(monitor) = monitors.get_monitor(channel_id) {
            monitor.broadcast_latest_holder_commitment_txn(&broadcaster, &fees, &logger);
            monitor.rebroadcast_pending_claims(broadcaster.clone(), fees.clone(), &logger);
        }
        monitors.process_pending_events(&|event| events.handle(event));
    })
}

fn invoices(
    config: &Config,
    core: &Core,
    gateway: &Arc<NodeGateway>,
) -> Result<Registry, StartError> {
    let limits = invoices::Limits {
        accept_amp: config.amp.accept,
        accept_keysend: config.accept_keysend,
        set: SetLimits {
            max_htlcs: config.amp.max_htlcs_per_set.into(),
            ..SetLimits::default()
        },
        max_open_sets: usize::try_from(config.amp.max_open_sets).unwrap_or(usize::MAX),
        max_held_per_channel: config.amp.max_held_htlcs_per_channel.into(),
        default_cltv_delta: config.forwarding.cltv_delta.into(),
    };
    let port = Arc::new(ManagerInboundHtlcs::new(
        core.manager.clone(),
        gateway.clone(),
    ));
    let registry = Registry::new(
        core.store.clone(),
        port,
        core.keys.clone(),
        config.network,
        limits,
    )?;
    let (manager, graph) = (core.manager.clone(), core.graph.clone());
    let hints = move |value_msat: u64, given: &[RouteHint]| {
        own_hints(&manager.list_usable_channels(), &graph, value_msat, given)
    };
    Ok(registry.with_own_hints(Arc::new(hints)))
}

fn payments(core: &Core, htlcs: &HtlcFeed) -> Result<Arc<Payments>, StartError> {
    let finder = RouteFinder::new(
        core.graph.clone(),
        core.scorer.clone(),
        core.keys.clone(),
        core.logger.clone(),
        core.node_id,
    );
    let (manager, keys) = (core.manager.clone(), core.keys.clone());
    let outbound = ManagerOutboundHtlcs::new(manager, finder, keys, core.node_id);
    let outbound = outbound.publishing_to(htlcs.clone());
    let runtime = tokio::runtime::Handle::current();
    Ok(Payments::new(
        core.store.clone(),
        Arc::new(outbound),
        runtime,
    )?)
}

fn bumper(core: &Core) -> Bumper {
    Bumper::new(
        core.wallet.clone(),
        core.fees.clone(),
        core.keys.clone(),
        core.ldk_broadcaster.clone(),
    )
}
