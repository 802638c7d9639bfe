//! ConnectPeer, DisconnectPeer, ListPeers.

use std::time::Duration;

use bitcoin::hex::DisplayHex;
use tonic::Status;

use crate::peers::connect::{Connected, DEFAULT_TIMEOUT};
use crate::peers::list::{self, feature_bits};
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::features::features;
use crate::rpc::convert::parse::public_key_hex;
use lnd_api::proto::lnrpc::peer::SyncType;
use lnd_api::proto::lnrpc::{
    ConnectPeerRequest, ConnectPeerResponse, DisconnectPeerRequest, DisconnectPeerResponse,
    ListPeersResponse, Peer,
};

/// The maximum connection timeout that a client may set, in seconds.
const MAX_TIMEOUT_SECONDS: u64 = 600;

/// Connects to a peer. With `perm`, the connection is kept up.
pub(super) async fn connect(
    context: &Context,
    request: &ConnectPeerRequest,
) -> Result<ConnectPeerResponse, Status> {
    let missing = || refused("need: lnc pubkeyhash@hostname");
    let address = request.addr.as_ref().ok_or_else(missing)?;
    if address.host.is_empty() {
        return Err(missing());
    }
    let peer = public_key_hex(&address.pubkey)?;
    let limit = match request.timeout {
        0 => DEFAULT_TIMEOUT,
        seconds => Duration::from_secs(seconds.min(MAX_TIMEOUT_SECONDS)),
    };
    let connected = context.peers.connect(peer, &address.host, limit).await?;
    if request.perm {
        context.peers.keep(peer);
    }
    let host = &address.host;
    match connected {
        Connected::Now => Ok(ConnectPeerResponse {
            status: format!("connection to {peer}@{host} initiated"),
        }),
        // lnd's text: clients treat this error as success.
        Connected::Already => Err(refused(format!("already connected to peer: {peer}@{host}"))),
    }
}

/// Disconnects a peer. Peers with channels are soon reconnected.
pub(super) fn disconnect(
    context: &Context,
    request: &DisconnectPeerRequest,
) -> Result<DisconnectPeerResponse, Status> {
    let peer = public_key_hex(&request.pub_key)?;
    context.peers.disconnect(&peer)?;
    Ok(DisconnectPeerResponse {
        status: "disconnect initiated".to_owned(),
    })
}

/// Lists the connected peers.
pub(super) fn list(context: &Context) -> ListPeersResponse {
    let peers = context.peers.list();
    ListPeersResponse {
        peers: peers.iter().map(peer).collect(),
    }
}

fn peer(peer: &list::Peer) -> Peer {
    let sync_type = if peer.features.supports_gossip_queries() {
        SyncType::ActiveSync
    } else {
        SyncType::UnknownSync
    };
    Peer {
        pub_key: peer.node_id.serialize().to_lower_hex_string(),
        address: peer.address.clone().unwrap_or_default(),
        bytes_sent: peer.bytes_sent,
        bytes_recv: peer.bytes_received,
        inbound: peer.inbound,
        // LDK does not measure it; -1 is lnd's value before the first ping.
        ping_time: -1,
        sync_type: sync_type.into(),
        features: features(feature_bits(peer.features.le_flags())),
        ..Default::default()
    }
}
