//! ampd and lnd show the same network, verify each other's signatures, and exchange custom messages in
//! both directions.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::hex::DisplayHex;
use lnd_api::proto::lnrpc::{
    ChanInfoRequest, ChannelEdge, ChannelGraph, ChannelGraphRequest, DisconnectPeerRequest,
    LightningNode, NetworkInfo, NetworkInfoRequest, SendCustomMessageRequest, SignMessageRequest,
    SubscribeCustomMessagesRequest, VerifyMessageRequest,
};
use regtest::api::bytes;
use regtest::network::Network;
use regtest::node::Software::{Ampd, Lnd};
use regtest::trials;
use regtest::wait::wait_for;
use tokio::time::timeout;

use crate::scene::row;

const AMPD: &str = "alice";
const LND: &str = "carol";
/// A second lnd, so that there is a channel without ampd.
const FAR: &str = "dave";
const NODES: [&str; 3] = [AMPD, LND, FAR];
/// Node announcements are repeated after a minute.
const GOSSIP_LIMIT: Duration = Duration::from_secs(120);
const MESSAGE_LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn trials() -> trials::Trials {
    trials![both_see_the_same_network]
}

async fn both_see_the_same_network() -> Result<()> {
    let network = row(&[(AMPD, Ampd), (LND, Lnd), (FAR, Lnd)]).await?;
    same_graph(&network).await?;
    same_statistics(&network).await?;
    for (signer, verifier) in [(AMPD, LND), (LND, AMPD)] {
        signatures_are_understood(&network, signer, verifier).await?;
        custom_messages_arrive(&network, signer, verifier).await?;
    }
    channel_reconnects_after_a_disconnect(&network).await?;
    network.finish();
    Ok(())
}

async fn graph(network: &Network, name: &str) -> Result<ChannelGraph> {
    let request = ChannelGraphRequest {
        include_unannounced: true,
        include_auth_proof: true,
    };
    let mut lightning = network[name].api()?.lightning;
    let graph = lightning.describe_graph(request).await?.into_inner();
    Ok(sorted(graph))
}

/// Sorts a graph, which lnd returns in database order.
fn sorted(mut graph: ChannelGraph) -> ChannelGraph {
    graph.edges.sort_by_key(|edge| edge.channel_id);
    graph.nodes.sort_by(|a, b| a.pub_key.cmp(&b.pub_key));
    graph.nodes = graph.nodes.into_iter().map(nameless).collect();
    graph
}

/// Removes differences: lnd has its own names for feature bits, and does not know others. Of itself it
/// may return an older announcement than the one it has sent.
fn nameless(mut node: LightningNode) -> LightningNode {
    node.last_update = 0;
    for feature in node.features.values_mut() {
        feature.name.clear();
        feature.is_known = false;
    }
    node
}

/// Compares all nodes and channels, including signatures.
async fn same_graph(network: &Network) -> Result<()> {
    let seen = wait_for("both graphs to be the same", GOSSIP_LIMIT, async || {
        let (ampd, lnd) = (graph(network, AMPD).await?, graph(network, LND).await?);
        ensure!(ampd.nodes.len() == NODES.len(), "{:?}", ampd.nodes);
        let announced = |node: &LightningNode| NODES.contains(&node.alias.as_str());
        ensure!(ampd.nodes.iter().all(announced), "{:?}", ampd.nodes);
        let (ours, lnds) = (&ampd.edges, &lnd.edges);
        ensure!(ours == lnds, "ampd: {ours:#?}\nlnd: {lnds:#?}");
        let (ours, lnds) = (&ampd.nodes, &lnd.nodes);
        ensure!(ours == lnds, "ampd: {ours:#?}\nlnd: {lnds:#?}");
        Ok(ampd)
    })
    .await?;
    assert_eq!(seen.edges.len(), 2);
    for edge in &seen.edges {
        let by_number = ChanInfoRequest {
            chan_id: edge.channel_id,
            include_auth_proof: true,
            ..Default::default()
        };
        let by_point = ChanInfoRequest {
            chan_point: edge.chan_point.clone(),
            include_auth_proof: true,
            ..Default::default()
        };
        for name in [AMPD, LND] {
            assert_eq!(channel(network, name, by_number.clone()).await?, *edge);
            assert_eq!(channel(network, name, by_point.clone()).await?, *edge);
        }
    }
    Ok(())
}

async fn channel(network: &Network, name: &str, request: ChanInfoRequest) -> Result<ChannelEdge> {
    let mut lightning = network[name].api()?.lightning;
    Ok(lightning.get_chan_info(request).await?.into_inner())
}

async fn same_statistics(network: &Network) -> Result<()> {
    let figures = async |name: &str| -> Result<NetworkInfo> {
        let mut lightning = network[name].api()?.lightning;
        let request = NetworkInfoRequest {};
        let info = lightning.get_network_info(request).await?.into_inner();
        // lnd stops counting a node's channels at the first one that it has already seen.
        Ok(NetworkInfo {
            max_out_degree: 0,
            ..info
        })
    };
    assert_eq!(figures(AMPD).await?, figures(LND).await?);
    Ok(())
}

async fn signatures_are_understood(network: &Network, signer: &str, verifier: &str) -> Result<()> {
    let msg = "Grüße ⚡".as_bytes().to_vec();
    let request = SignMessageRequest {
        msg: msg.clone(),
        single_hash: false,
    };
    let mut lightning = network[signer].api()?.lightning;
    let signature = lightning
        .sign_message(request)
        .await?
        .into_inner()
        .signature;
    let request = VerifyMessageRequest { msg, signature };
    let mut lightning = network[verifier].api()?.lightning;
    let verified = lightning.verify_message(request).await?.into_inner();
    assert!(verified.valid);
    assert_eq!(verified.pubkey, network[signer].key());
    Ok(())
}

async fn custom_messages_arrive(network: &Network, from: &str, to: &str) -> Result<()> {
    let mut receiver = network[to].api()?.lightning;
    let request = SubscribeCustomMessagesRequest {};
    // lnd sends no response headers before its first message.
    let subscribing = tokio::spawn(async move {
        let messages = receiver.subscribe_custom_messages(request).await?;
        messages.into_inner().message().await
    });
    let request = SendCustomMessageRequest {
        peer: bytes(network[to].key())?,
        r#type: 32_769,
        data: vec![1, 2, 3],
    };
    let mut sender = network[from].api()?.lightning;
    let arrived = async {
        // Messages are dropped until somebody subscribes.
        while !subscribing.is_finished() {
            sender.send_custom_message(request.clone()).await?;
            tokio::task::yield_now().await;
        }
        subscribing
            .await?
            .context("timed out waiting for a message")
    };
    let message = timeout(MESSAGE_LIMIT, arrived).await??;
    let message = message.context("the stream ended")?;
    assert_eq!(message.peer.to_lower_hex_string(), network[from].key());
    assert_eq!((message.r#type, message.data), (32_769, vec![1, 2, 3]));
    Ok(())
}

/// lnd disconnects immediately although there is a channel.
async fn channel_reconnects_after_a_disconnect(network: &Network) -> Result<()> {
    let request = DisconnectPeerRequest {
        pub_key: network[LND].key().to_owned(),
    };
    let mut ampd = network[AMPD].api()?.lightning;
    ampd.disconnect_peer(request).await?;
    network.wait_usable().await
}
