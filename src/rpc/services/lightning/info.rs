//! GetInfo and StopDaemon.

use bitcoin::Network;
use bitcoin::hex::DisplayHex;
use tonic::Status;

use crate::channels::list::{Channel, ChannelState};
use crate::rpc::Context;
use crate::rpc::convert::features::{Features, features};
use crate::rpc::convert::parse::network_name;
use crate::rpc::services::versioner;
use lnd_api::proto::lnrpc::{
    Chain, GetInfoRequest, GetInfoResponse, GraphCacheStatus, StopResponse,
};

/// `amp-req`, which lnd sets in invoices only.
const AMP_REQUIRED_BIT: u32 = 30;

/// The length of the default alias, which lnd takes from the node's key.
const DEFAULT_ALIAS_DIGITS: usize = 20;

/// Returns the node's identity and state.
pub(super) fn get_info(context: &Context, _: &GetInfoRequest) -> Result<GetInfoResponse, Status> {
    let node_id = context.node.id.serialize().to_lower_hex_string();
    let tip = *context.chain.tip.borrow();
    let synced = context.chain.is_synced(context.node.network);
    let num_peers = context.peers.list().len();
    let counts = Counts::of(&context.channels.list());
    let graph_known = num_peers > 0 || !context.graph.is_empty();
    let uri = |address: &String| format!("{node_id}@{address}");
    Ok(GetInfoResponse {
        version: versioner::of_info(),
        commit_hash: String::new(),
        alias: alias(&context.node.alias, &node_id),
        color: context.node.color.clone(),
        num_pending_channels: counts.opening,
        num_active_channels: counts.active,
        num_inactive_channels: counts.inactive,
        num_peers: u32::try_from(num_peers).unwrap_or(u32::MAX),
        block_height: tip.height,
        block_hash: tip.hash.to_string(),
        best_header_timestamp: i64::from(tip.time),
        synced_to_chain: synced,
        synced_to_graph: synced && graph_known,
        testnet: context.node.network == Network::Testnet,
        chains: vec![Chain {
            chain: "bitcoin".to_owned(),
            network: network_name(context.node.network).to_owned(),
        }],
        uris: context.node.addresses.iter().map(uri).collect(),
        features: own_features(context),
        require_htlc_interceptor: false,
        store_final_htlc_resolutions: false,
        wallet_synced: context.chain.is_healthy(),
        graph_cache_status: GraphCacheStatus::Loaded.into(),
        identity_pubkey: node_id,
    })
}

/// Shuts the node down cleanly.
pub(super) fn stop(context: &Context) -> StopResponse {
    tracing::info!("shutdown requested by RPC");
    context.stop.cancel();
    StopResponse {
        status: "shutdown initiated, check logs for progress".to_owned(),
    }
}

/// Returns the configured alias, or lnd's default.
pub(super) fn alias(configured: &str, node_id: &str) -> String {
    match configured {
        "" => node_id.chars().take(DEFAULT_ALIAS_DIGITS).collect(),
        alias => alias.to_owned(),
    }
}

/// Returns the features that we send to peers, announce, and set in invoices.
pub(super) fn own_features(context: &Context) -> Features {
    features(
        context
            .node
            .features
            .iter()
            .copied()
            .chain([AMP_REQUIRED_BIT]),
    )
}

/// The numbers of channels by state.
#[derive(Default)]
struct Counts {
    opening: u32,
    active: u32,
    inactive: u32,
}

impl Counts {
    fn of(channels: &[Channel]) -> Self {
        let mut counts = Self::default();
        for channel in channels {
            let count = match (channel.state, channel.active) {
                (ChannelState::Opening, _) => &mut counts.opening,
                (ChannelState::Open, true) => &mut counts.active,
                (ChannelState::Open, false) => &mut counts.inactive,
                (ChannelState::Closing, _) => continue,
            };
            *count = count.saturating_add(1);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_alias_comes_from_the_key() {
        let node_id = "029b6941d70ecad6d7ec7e64712e4d10c1050fa2099498cae41894190e17883f0a";
        assert_eq!(alias("", node_id), "029b6941d70ecad6d7ec");
        assert_eq!(alias("alice", node_id), "alice");
    }
}
