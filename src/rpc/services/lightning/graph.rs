//! DescribeGraph, GetNodeInfo, GetChanInfo: the network graph.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bitcoin::OutPoint;
use bitcoin::hex::{DisplayHex, FromHex};
use lightning::routing::gossip::{NodeAnnouncementInfo, NodeId};
use tonic::Status;

use super::info;
use crate::peers::{self, list::feature_bits};
use crate::routing::edge::{Edge, Policy, Proof};
use crate::routing::graph_view::node_id;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::features::features;
use crate::rpc::transport::streams::blocking;
use crate::rpc::{Context, signed};
use lnd_api::proto::lnrpc::{
    ChanInfoRequest, ChannelAuthProof, ChannelEdge, ChannelGraph, ChannelGraphRequest,
    LightningNode, NodeAddress, NodeInfo, NodeInfoRequest, RoutingPolicy,
};

/// Returns all nodes and channels.
pub(super) async fn describe(
    context: Arc<Context>,
    request: ChannelGraphRequest,
) -> Result<ChannelGraph, Status> {
    let reading = context.clone();
    let (mut graph, lacking) = blocking(move || {
        let graph = read_all(&reading, &request);
        let lacking = reading.graph.look_up(lacking_points(&graph.edges));
        Ok((graph, lacking))
    })
    .await?;
    let points = context.graph.points(lacking).await;
    blocking(move || {
        add_points(&points, &mut graph.edges);
        Ok(graph)
    })
    .await
}

fn read_all(context: &Context, request: &ChannelGraphRequest) -> ChannelGraph {
    let whole = context.graph.whole();
    let mut graph = ChannelGraph::default();
    whole.read_nodes(|id, announcement| graph.nodes.push(node(context, id, announcement)));
    let proof = request.include_auth_proof;
    let edges = &mut graph.edges;
    whole.read_edges(request.include_unannounced, |known| {
        edges.push(edge(known, proof));
    });
    graph
}

/// Returns a node and, if requested, its announced channels.
pub(super) async fn node_info(
    context: Arc<Context>,
    request: NodeInfoRequest,
) -> Result<NodeInfo, Status> {
    if request.include_auth_proof && !request.include_channels {
        return Err(refused("include_auth_proof depends on include_channels"));
    }
    let id = read_key(&request.pub_key)?;
    let reading = context.clone();
    let mut found = blocking(move || read_node(&reading, &id, &request)).await?;
    find_points(&context, &mut found.channels).await;
    Ok(found)
}

/// Parses a node id. As in lnd, any 33 bytes are accepted; an invalid key is just an unknown node.
fn read_key(text: &str) -> Result<NodeId, Status> {
    let bytes = Vec::<u8>::from_hex(text.trim());
    let bytes = bytes.map_err(|error| refused(format!("invalid public key: {error}")))?;
    NodeId::from_slice(&bytes).map_err(|_| {
        let length = bytes.len();
        refused(format!("invalid vertex length of {length}, want 33"))
    })
}

fn read_node(
    context: &Context,
    id: &NodeId,
    request: &NodeInfoRequest,
) -> Result<NodeInfo, Status> {
    let (announcement, announced, unannounced) = {
        let view = context.graph.view();
        if !view.has_node(id) {
            return Err(Status::not_found("unable to find node"));
        }
        let ends_here = |edge: &Edge| edge.node_1 == *id || edge.node_2 == *id;
        let unannounced: Vec<Edge> = view.unannounced().filter(ends_here).collect();
        (
            view.announcement(id).cloned(),
            view.edges_of(id),
            unannounced,
        )
    };
    let all = || announced.iter().chain(&unannounced);
    let capacity = all().filter_map(|edge| edge.capacity_sat);
    let mut channels = Vec::new();
    if request.include_channels {
        let proof = request.include_auth_proof;
        channels.extend(announced.iter().map(|known| edge(known, proof)));
    }
    Ok(NodeInfo {
        node: Some(node(context, id, announcement.as_ref())),
        num_channels: u32::try_from(all().count()).unwrap_or(u32::MAX),
        total_capacity: signed(capacity.fold(0, u64::saturating_add)),
        channels,
    })
}

/// Returns one channel.
pub(super) async fn chan_info(
    context: &Context,
    request: &ChanInfoRequest,
) -> Result<ChannelEdge, Status> {
    let not_found = || Status::not_found("edge not found");
    let scid = match (request.chan_id, request.chan_point.as_str()) {
        (0, "") => return Err(refused("specify either chan_id or chan_point")),
        (0, point) => scid_of(context, point).await?.ok_or_else(not_found)?,
        (scid, _) => scid,
    };
    let known = context.graph.view().edge(scid).ok_or_else(not_found)?;
    let mut found = [edge(&known, request.include_auth_proof)];
    find_points(context, &mut found).await;
    let [found] = found;
    Ok(found)
}

/// Returns the SCID of a channel point.
async fn scid_of(context: &Context, point: &str) -> Result<Option<u64>, Status> {
    let point: OutPoint = point.parse().map_err(|_| {
        refused(format!(
            "chan_point {point:?} is not of the form txid:index"
        ))
    })?;
    Ok(context.graph.scid(&point).await?)
}

/// Fills in the funding outpoints by looking them up in the chain.
async fn find_points(context: &Context, edges: &mut [ChannelEdge]) {
    let lacking = context.graph.look_up(lacking_points(edges));
    add_points(&context.graph.points(lacking).await, edges);
}

/// Returns the short channel ids of the channels whose funding outpoint is missing.
fn lacking_points(edges: &[ChannelEdge]) -> impl Iterator<Item = u64> {
    let lack = edges.iter().filter(|edge| edge.chan_point.is_empty());
    lack.map(|edge| edge.channel_id)
}

fn add_points(points: &HashMap<u64, OutPoint>, edges: &mut [ChannelEdge]) {
    for edge in edges {
        if let Some(point) = points.get(&edge.channel_id) {
            edge.chan_point = point.to_string();
        }
    }
}

fn node(
    context: &Context,
    id: &NodeId,
    announcement: Option<&NodeAnnouncementInfo>,
) -> LightningNode {
    let pub_key = id.as_slice().to_lower_hex_string();
    match announcement {
        Some(info) => announced(pub_key, info),
        None if *id == node_id(&context.node.id) => ourselves(context, pub_key),
        // As in lnd for a node that is known only from its channels.
        None => LightningNode {
            pub_key,
            color: color([0; 3]),
            ..Default::default()
        },
    }
}

fn announced(pub_key: String, info: &NodeAnnouncementInfo) -> LightningNode {
    let addresses = info.addresses().iter();
    LightningNode {
        last_update: info.last_update(),
        pub_key,
        alias: info.alias().to_string(),
        addresses: addresses
            .map(|at| address(peers::address::text(at)))
            .collect(),
        color: color(info.rgb()),
        features: features(feature_bits(info.features().le_flags())),
        custom_records: BTreeMap::new(),
    }
}

/// Returns our own node, as it will be announced.
fn ourselves(context: &Context, pub_key: String) -> LightningNode {
    let addresses = context.node.addresses.iter().cloned();
    LightningNode {
        last_update: 0,
        alias: info::alias(&context.node.alias, &pub_key),
        pub_key,
        addresses: addresses.map(address).collect(),
        color: context.node.color.clone(),
        features: info::own_features(context),
        custom_records: BTreeMap::new(),
    }
}

fn address(addr: String) -> NodeAddress {
    NodeAddress {
        network: "tcp".to_owned(),
        addr,
    }
}

fn color([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn edge(edge: &Edge, with_proof: bool) -> ChannelEdge {
    let policies = [edge.policy_1, edge.policy_2];
    let updates = policies.iter().flatten().map(|policy| policy.last_update);
    ChannelEdge {
        channel_id: edge.scid,
        chan_point: edge.point.map(|p| p.to_string()).unwrap_or_default(),
        last_update: updates.max().unwrap_or_default(),
        node1_pub: edge.node_1.as_slice().to_lower_hex_string(),
        node2_pub: edge.node_2.as_slice().to_lower_hex_string(),
        capacity: signed(edge.capacity_sat.unwrap_or_default()),
        node1_policy: edge.policy_1.as_ref().map(policy),
        node2_policy: edge.policy_2.as_ref().map(policy),
        custom_records: BTreeMap::new(),
        auth_proof: edge.proof.as_ref().filter(|_| with_proof).map(proof),
    }
}

fn policy(policy: &Policy) -> RoutingPolicy {
    let terms = &policy.terms;
    RoutingPolicy {
        time_lock_delta: terms.cltv_delta_blocks.into(),
        min_htlc: signed(terms.min_htlc_msat),
        fee_base_msat: terms.base_fee_msat.into(),
        fee_rate_milli_msat: terms.fee_rate_ppm.into(),
        disabled: policy.disabled,
        max_htlc_msat: terms.max_htlc_msat,
        last_update: policy.last_update,
        ..Default::default()
    }
}

fn proof(proof: &Proof) -> ChannelAuthProof {
    let der = |signature: &bitcoin::secp256k1::ecdsa::Signature| signature.serialize_der().to_vec();
    ChannelAuthProof {
        node_sig1: der(&proof.node_1),
        bitcoin_sig1: der(&proof.bitcoin_1),
        node_sig2: der(&proof.node_2),
        bitcoin_sig2: der(&proof.bitcoin_2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::forwarding_terms::ForwardingTerms;
    use crate::rpc::test_recordings::{number, number_32, printed, recorded, text};

    fn key(text: &str) -> NodeId {
        node_id(&text.parse().unwrap())
    }

    fn recorded_policy(lnd: &serde_json::Value) -> Policy {
        let small = |name: &str| number_32(&lnd[name]);
        Policy {
            terms: ForwardingTerms {
                base_fee_msat: small("fee_base_msat"),
                fee_rate_ppm: small("fee_rate_milli_msat"),
                cltv_delta_blocks: small("time_lock_delta").try_into().unwrap(),
                min_htlc_msat: number(&lnd["min_htlc"]),
                max_htlc_msat: number(&lnd["max_htlc_msat"]),
            },
            disabled: false,
            last_update: small("last_update"),
        }
    }

    #[test]
    fn channel_matches_lnd() {
        let lnd = recorded("getchaninfo.json");
        let known = Edge {
            scid: number(&lnd["channel_id"]),
            point: Some(text(&lnd["chan_point"]).parse().unwrap()),
            capacity_sat: Some(number(&lnd["capacity"])),
            node_1: key(&text(&lnd["node1_pub"])),
            node_2: key(&text(&lnd["node2_pub"])),
            policy_1: Some(recorded_policy(&lnd["node1_policy"])),
            policy_2: Some(recorded_policy(&lnd["node2_policy"])),
            proof: None,
        };
        assert_eq!(printed(&edge(&known, true)), lnd);
    }

    #[test]
    fn unknown_fields_are_omitted() {
        let some = key("0263023b725db9e82890799459688ca409a67560e4dc5f3e9ff442e63bac5a1f5c");
        let known = Edge {
            scid: 1,
            point: None,
            capacity_sat: None,
            node_1: some,
            node_2: some,
            policy_1: None,
            policy_2: None,
            proof: None,
        };
        let shown = edge(&known, false);
        assert_eq!((shown.capacity, shown.last_update), (0, 0));
        assert_eq!((shown.node1_policy, shown.auth_proof), (None, None));
    }

    #[test]
    fn node_keys_have_33_bytes() {
        assert!(read_key(&"02".repeat(33)).is_ok());
        for wrong in ["", "02", "xy", &"02".repeat(34)] {
            assert!(read_key(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn colors_have_six_digits() {
        assert_eq!(color([0x33, 0x99, 0xff]), "#3399ff");
        assert_eq!(color([0; 3]), "#000000");
    }
}
