//! Accepts connections of peers.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::address::ip_address;
use super::book::ChannelPeers;
use super::inbound::Inbound;
use super::{hang_up, socket};
use crate::ldk::PeerManager;

/// Inbound connections of nodes that have no channel with us. Each costs two file descriptors and
/// some 100 kB: enough for wallets and gossip, and far from the 1024 descriptors of a process.
pub const MAX_STRANGERS: usize = 100;

/// Pause after the system refused to accept: it is out of descriptors, or of memory.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// An address on which we cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for peers on {address}: {source}; choose another address or port")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Takes in the connections of all our addresses.
pub struct Listener {
    peers: Arc<PeerManager>,
    channel_peers: Arc<ChannelPeers>,
    inbound: Arc<Inbound>,
    max_strangers: usize,
}

/// Binds every address; port 0 lets the system choose (ask the socket which).
pub async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenError> {
    let mut sockets = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let bound = TcpListener::bind(address).await;
        sockets.push(bound.map_err(|source| ListenError { address, source })?);
    }
    Ok(sockets)
}

impl Listener {
    /// `max_strangers` bounds the connections of nodes without channels; see [`MAX_STRANGERS`].
    pub fn new(
        peers: Arc<PeerManager>,
        channel_peers: Arc<ChannelPeers>,
        max_strangers: usize,
    ) -> Self {
        Self {
            peers,
            channel_peers,
            inbound: Arc::default(),
            max_strangers,
        }
    }

    /// Accepts on one socket until `stop`. Run it once for each socket.
    pub async fn run(&self, socket: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, address),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a peer's connection");
                    sleep(EXHAUSTED).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        self.inbound
            .make_room(self.max_strangers, || self.known_addresses());
        let prepared = socket::prepare(stream)
            .and_then(|ours| Ok((ours.try_clone()?, ours.try_clone()?, ours)));
        let (handle, watched, stream) = match prepared {
            Ok(handles) => handles,
            Err(error) => {
                tracing::debug!(%address, %error, "a peer's connection ended at once");
                return;
            }
        };
        let number = self.inbound.add(address, handle);
        let inbound = Arc::clone(&self.inbound);
        let gone = lightning_net_tokio::setup_inbound(Arc::clone(&self.peers), stream);
        let peers = Arc::clone(&self.peers);
        tokio::spawn(async move {
            hang_up::watch(peers, gone, watched).await;
            inbound.remove(number);
        });
    }

    /// The addresses from which peers with channels are connected.
    fn known_addresses(&self) -> HashSet<SocketAddr> {
        let with_channels = (self.channel_peers)();
        self.peers
            .list_peers()
            .into_iter()
            .filter(|peer| with_channels.contains(&peer.counterparty_node_id))
            .filter_map(|peer| ip_address(peer.socket_address.as_ref()?))
            .collect()
    }
}
