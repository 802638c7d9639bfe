//! SubscribePeerEvents, SendCustomMessage, SubscribeCustomMessages.

use bitcoin::hex::DisplayHex;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::peers::Peers;
use crate::peers::custom_messages;
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::parse::{public_key, within};
use crate::rpc::transport::events::next;
use crate::rpc::transport::streams::{Answers, stream};
use lnd_api::proto::lnrpc::peer_event::EventType;
use lnd_api::proto::lnrpc::{
    CustomMessage, PeerEvent, SendCustomMessageRequest, SendCustomMessageResponse,
};

/// Streams peers' connects and disconnects from now on.
pub(super) fn follow_peers(peers: &Peers, stop: CancellationToken) -> Answers<PeerEvent> {
    let mut events = peers.events();
    stream(stop, move |writer| async move {
        loop {
            writer.send(event(next(&mut events).await?)).await;
        }
    })
}

fn event(event: custom_messages::PeerEvent) -> PeerEvent {
    let kind = if event.online {
        EventType::PeerOnline
    } else {
        EventType::PeerOffline
    };
    PeerEvent {
        pub_key: event.peer.serialize().to_lower_hex_string(),
        r#type: kind.into(),
    }
}

/// Passes a custom message to LDK if the peer is connected.
pub(super) fn send(
    context: &Context,
    request: SendCustomMessageRequest,
) -> Result<SendCustomMessageResponse, Status> {
    let peer = public_key(&request.peer)?;
    let kind = within(request.r#type, "type")?;
    let message = custom_messages::CustomMessage::new(kind, request.data);
    let message = message.map_err(|error| refused(error.to_string()))?;
    let sent = context.peers.send(peer, message);
    sent.map_err(|error| Status::not_found(error.to_string()))?;
    Ok(SendCustomMessageResponse {
        status: "message sent successfully".to_owned(),
    })
}

/// Streams custom messages received from now on.
pub(super) fn follow_messages(peers: &Peers, stop: CancellationToken) -> Answers<CustomMessage> {
    let mut incoming = peers.messages();
    stream(stop, move |writer| async move {
        loop {
            let (peer, message) = next(&mut incoming).await?;
            let message = CustomMessage {
                peer: peer.serialize().to_vec(),
                r#type: message.kind().into(),
                data: message.data().to_vec(),
            };
            writer.send(message).await;
        }
    })
}
