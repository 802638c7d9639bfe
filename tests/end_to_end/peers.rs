//! Peer and channel events, custom messages, and the node's information about itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use lnd_api::proto::lnrpc::channel_event_update::{Channel as What, UpdateType};
use lnd_api::proto::lnrpc::open_status_update::Update;
use lnd_api::proto::lnrpc::peer_event::EventType;
use lnd_api::proto::lnrpc::{
    ChannelEventSubscription, ChannelEventUpdate, DisconnectPeerRequest, OpenChannelRequest,
    OpenStatusUpdate, PeerEvent, PeerEventSubscription, SendCustomMessageRequest,
    SubscribeCustomMessagesRequest,
};
use regtest::api::bytes;
use regtest::network::Network;
use regtest::wait::wait_for;
use tokio::time::timeout;
use tonic::{Code, Streaming};

use crate::binaries;
use crate::graph::cli;

const CAPACITY_SAT: u64 = 1_000_000;
const FUNDS_SAT: u64 = 2_000_000;
const EVENT_LIMIT: Duration = Duration::from_secs(60);

async fn next<T>(events: &mut Streaming<T>) -> Result<T> {
    let event = timeout(EVENT_LIMIT, events.message()).await;
    event
        .context("timed out waiting for an event")??
        .context("the stream ended")
}

#[tokio::test]
async fn peer_and_channel_events_are_reported() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    node_information_is_consistent(&network)?;
    let mut alice = network["alice"].api()?.lightning;
    let request = PeerEventSubscription {};
    let mut peers = alice.subscribe_peer_events(request).await?.into_inner();
    let not_there = send(&network, 40_000, b"too early").await;
    assert_eq!(not_there.unwrap_err().code(), Code::NotFound);
    network.connect("bob", "alice").await?;
    expect_peer_event(&network, &mut peers, EventType::PeerOnline).await?;
    custom_messages_arrive(&network).await?;

    let request = ChannelEventSubscription {};
    let events = alice.subscribe_channel_events(request).await?;
    let mut events = events.into_inner();
    let point = open(&network, &mut events).await?;
    // Disconnecting a peer with a channel: the node reconnects.
    let pub_key = network["bob"].key().to_owned();
    let request = DisconnectPeerRequest { pub_key };
    alice.disconnect_peer(request).await?;
    expect_peer_event(&network, &mut peers, EventType::PeerOffline).await?;
    is(&mut events, UpdateType::InactiveChannel).await?;
    expect_peer_event(&network, &mut peers, EventType::PeerOnline).await?;
    is(&mut events, UpdateType::ActiveChannel).await?;
    let alice_cli = cli(&network, "alice");
    alice_cli.refused(&["disconnect", network["alice"].key()], "is not connected")?;
    close(&network, &mut events, &point).await?;
    network.finish();
    Ok(())
}

fn node_information_is_consistent(network: &Network) -> Result<()> {
    let alice = cli(network, "alice");
    let version = alice.json(&["version"])?;
    let text = version["lnd"]["version"].as_str().context("no version")?;
    assert_eq!(text, "0.21.2-beta");
    let ours = version["lncli"]["commit"].as_str().context("no commit")?;
    assert!(ours.starts_with("ampcli/"), "{ours}");
    assert_eq!(version["lnd"]["version"], version["lncli"]["version"]);
    let info = alice.json(&["getinfo"])?;
    let ours = version["lnd"]["commit"].as_str().context("no commit")?;
    assert_eq!(info["version"], format!("{text} {ours}"));
    assert_eq!(alice.json(&["state"])?["state"], "SERVER_ACTIVE");
    let known = alice.json(&["debuglevel", "--show"])?;
    let known = known["sub_systems"].as_str().context("no subsystems")?;
    assert!(known.contains("peers") && known.contains("ldk"), "{known}");
    let set = alice.json(&["debuglevel", "--level", "info,peers=trace"])?;
    let expected = "warn, ampd=info, ldk=info, ampd::peers=trace";
    assert_eq!(set["sub_systems"], expected);
    alice.refused(&["debuglevel", "--level", "loud"], "[loud] is invalid")?;
    let aliases = alice.json(&["listaliases"])?;
    assert_eq!(aliases["alias_maps"].as_array().map(Vec::len), Some(0));
    // No announcement was sent yet: this shows its future content.
    let node = alice.json(&["getnodeinfo", network["alice"].key()])?;
    assert_eq!(node["node"]["alias"], "alice");
    assert_eq!(node["num_channels"], 0);
    Ok(())
}

async fn expect_peer_event(
    network: &Network,
    peers: &mut Streaming<PeerEvent>,
    kind: EventType,
) -> Result<()> {
    let event = next(peers).await?;
    assert_eq!(event.pub_key, network["bob"].key());
    assert_eq!(event.r#type(), kind);
    Ok(())
}

/// Sends a custom message from Alice to Bob.
async fn send(network: &Network, kind: u32, data: &[u8]) -> Result<String, tonic::Status> {
    let api = network["alice"]
        .api()
        .map_err(|e| tonic::Status::internal(e.to_string()))?;
    let peer = bytes(network["bob"].key()).map_err(|e| tonic::Status::internal(e.to_string()))?;
    let request = SendCustomMessageRequest {
        peer,
        r#type: kind,
        data: data.to_vec(),
    };
    let sent = api.lightning.clone().send_custom_message(request).await?;
    Ok(sent.into_inner().status)
}

async fn custom_messages_arrive(network: &Network) -> Result<()> {
    let mut bob = network["bob"].api()?.lightning;
    let request = SubscribeCustomMessagesRequest {};
    let messages = bob.subscribe_custom_messages(request).await?;
    let mut messages = messages.into_inner();
    // Odd and even types, an empty message, and one of maximum length.
    let sent = [
        (32_768, vec![]),
        (40_001, vec![1, 2]),
        (65_535, vec![7; 65_533]),
    ];
    for (kind, data) in &sent {
        let status = send(network, *kind, data).await?;
        assert_eq!(status, "message sent successfully");
    }
    for (kind, data) in sent {
        let message = next(&mut messages).await?;
        assert_eq!(message.peer.to_lower_hex_string(), network["alice"].key());
        assert_eq!((message.r#type, message.data), (kind, data));
    }
    let of_the_protocol = send(network, 32_767, b"").await.unwrap_err();
    assert!(of_the_protocol.message().contains("not in custom range"));
    assert!(send(network, 70_000, b"").await.is_err());
    assert!(send(network, 40_000, &[0; 65_534]).await.is_err());
    let alice = cli(network, "alice");
    let args = ["sendcustom", "--peer", network["bob"].key()];
    let args = [&args[..], &["--type", "40000", "--data", "0102"]].concat();
    assert_eq!(alice.json(&args)?["status"], "message sent successfully");
    assert_eq!(next(&mut messages).await?.data, [1, 2]);
    Ok(())
}

/// Opens a channel and follows its events until it is active. Returns its channel point.
async fn open(network: &Network, events: &mut Streaming<ChannelEventUpdate>) -> Result<String> {
    let api = network["alice"].api()?;
    let address = api.address().await?;
    network.bitcoind.fund(&[(address, FUNDS_SAT)]).await?;
    network.mine(1).await?;
    network.wait_wallet("alice", FUNDS_SAT).await?;
    let request = OpenChannelRequest {
        node_pubkey: bytes(network["bob"].key())?,
        local_funding_amount: i64::try_from(CAPACITY_SAT)?,
        ..Default::default()
    };
    let mut lightning = api.lightning.clone();
    let mut steps = lightning.open_channel(request).await?.into_inner();
    let OpenStatusUpdate {
        update: Some(Update::ChanPending(pending)),
        pending_chan_id,
    } = next(&mut steps).await?
    else {
        panic!("expected a pending channel event");
    };
    assert_eq!(pending_chan_id.len(), 32);
    let Some(What::PendingOpenChannel(told)) = next(events).await?.channel else {
        panic!("expected a pending channel update");
    };
    assert_eq!(
        (&told.txid, told.output_index),
        (&pending.txid, pending.output_index)
    );
    let txid = bitcoin::Txid::from_slice(&pending.txid)?.to_string();
    wait_for("the funding transaction", EVENT_LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?;
        ensure!(mempool.contains(&txid), "the mempool holds {mempool:?}");
        Ok(())
    })
    .await?;
    network.mine(6).await?;
    let Some(Update::ChanOpen(_)) = next(&mut steps).await?.update else {
        panic!("expected a channel open update");
    };
    assert!(
        steps.message().await?.is_none(),
        "the stream continues after the channel is open"
    );
    let Some(What::OpenChannel(channel)) = next(events).await?.channel else {
        panic!("expected an open channel event");
    };
    assert_eq!(channel.capacity, i64::try_from(CAPACITY_SAT)?);
    is(events, UpdateType::ActiveChannel).await?;
    Ok(channel.channel_point)
}

async fn is(events: &mut Streaming<ChannelEventUpdate>, kind: UpdateType) -> Result<()> {
    assert_eq!(next(events).await?.r#type(), kind);
    Ok(())
}

async fn close(
    network: &Network,
    events: &mut Streaming<ChannelEventUpdate>,
    point: &str,
) -> Result<()> {
    let closing = cli(network, "alice").json(&["closechannel", "--chan_point", point])?;
    is(events, UpdateType::InactiveChannel).await?;
    let Some(What::ClosedChannel(closed)) = next(events).await?.channel else {
        panic!("expected a closed channel event");
    };
    assert_eq!(closed.channel_point, point);
    assert_eq!(closed.closing_tx_hash, closing["closing_txid"]);
    Ok(())
}
