//! The RPC context: what of the node the RPC services use.

use std::sync::Arc;

use lightning::ln::msgs::BaseMessageHandler;

use super::components::Components;
use super::core::Core;
use super::inbound_htlcs::NodeChannelMessages;
use crate::chain::Fundings;
use crate::chain::sync::Following;
use crate::channels::{self, Channels};
use crate::config::Config;
use crate::log_levels::LogLevels;
use crate::message_signing::MessageSigner;
use crate::peers::list::feature_bits;
use crate::peers::{Peers, address};
use crate::routing::graph_view::Graph;
use crate::routing::query_routes::Routes;
use crate::rpc::{Bakery, Context, NodeInfo};
use crate::wallet::Funds;
use crate::web::Donations;

fn routes(core: &Core) -> Routes {
    Routes::new(
        core.manager.clone(),
        core.graph.clone(),
        core.scorer.clone(),
        core.keys.clone(),
        core.logger.clone(),
    )
}

fn channels(core: &Core, components: &Components) -> Channels {
    let events = &components.events.channels;
    Channels::new(channels::api::Parts {
        manager: core.manager.clone(),
        monitors: core.monitors.clone(),
        sweeper: core.sweeper.clone(),
        peers: components.peer_manager.clone(),
        opener: components.opener.clone(),
        closer: components.closer.clone(),
        spends: core.spends.clone(),
        store: core.store.clone(),
        reserve: core.reserve.clone(),
        acceptors: events.acceptors().clone(),
        feed: events.feed().clone(),
        htlcs: events.htlcs().clone(),
    })
}

fn funds(core: &Core) -> Funds {
    Funds::new(
        core.wallet.clone(),
        core.store.clone(),
        core.broadcaster.clone(),
    )
}

fn graph(core: &Core) -> Graph {
    let fundings = Fundings::new(core.bitcoind.clone());
    Graph::new(core.graph.clone(), core.manager.clone(), fundings)
}

fn peers(components: &Components) -> Peers {
    Peers::new(
        components.peer_manager.clone(),
        components.connector.clone(),
        components.reconnector.clone(),
        components.custom_messages.clone(),
    )
}

/// The feature bits that we send in `init` and `node_announcement`.
fn own_features(core: &Core, messages: &NodeChannelMessages) -> Vec<u32> {
    let init = messages.provided_init_features(core.node_id);
    let mut bits = feature_bits(init.le_flags());
    bits.extend(feature_bits(messages.provided_node_features().le_flags()));
    bits
}

fn node_info(config: &Config, core: &Core, components: &Components) -> NodeInfo {
    let alias = config.alias.as_ref();
    let addresses = config.external_addresses.iter();
    NodeInfo {
        network: config.network,
        id: core.node_id,
        alias: alias.map_or_else(String::new, |alias| alias.as_str().to_owned()),
        color: config.color.to_string(),
        addresses: addresses.map(address::text).collect(),
        features: own_features(core, &components.events.channel_messages),
        cltv_delta: config.forwarding.cltv_delta.into(),
    }
}

/// Fills the context.
pub(super) fn context(
    config: &Config,
    core: &Core,
    components: &Components,
    chain: Following,
    donations: Option<Arc<Donations>>,
    bakery: Arc<Bakery>,
    levels: LogLevels,
) -> Context {
    Context {
        node: node_info(config, core, components),
        channels: channels(core, components),
        payments: components.payments.clone(),
        invoices: components.invoices.clone(),
        routes: routes(core),
        graph: graph(core),
        peers: peers(components),
        chain,
        fees: core.fees.clone(),
        wallet: core.wallet.clone(),
        funds: funds(core),
        signer: MessageSigner::new(core.keys.clone()),
        bakery,
        donations,
        levels,
        stop: core.stop.clone(),
    }
}
