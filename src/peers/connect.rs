//! Connects to peers, waits for the handshake, and disconnects.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use super::address_book::{AddressBook, ChannelPeers};
use super::connection::Context;
use super::{connection, tcp};

/// The port of an address without one (BOLT 1).
pub const DEFAULT_PORT: u16 = 9735;

/// The default connection timeout (lnd: 120 s).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often to check for a completed handshake, which LDK reports to its message handlers only.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The result of a successful connection request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connected {
    Now,
    /// The peer was already connected, in either direction.
    Already,
}

/// The reason why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot make connection to self")]
    ToSelf,
    #[error("invalid address {address}: {reason}")]
    Address { address: String, reason: String },
    #[error("connection to {address} refused: nothing is listening there")]
    Refused { address: String },
    #[error("connection to {address} timed out after {seconds} s")]
    Timeout { address: String, seconds: u64 },
    #[error("connection to {address} failed: {source}")]
    Io { address: String, source: io::Error },
    /// A node with a different key cannot read our first message and disconnects, and so does one
    /// that rejects us. BOLT 8 does not allow us to distinguish them.
    #[error(
        "handshake with {peer} at {address} failed: the node there has a different public key or rejected us"
    )]
    Handshake { peer: PublicKey, address: String },
}

/// The reason why a peer was not disconnected.
#[derive(Debug, thiserror::Error)]
pub enum DisconnectError {
    #[error("unable to disconnect peer: peer {0} is not connected")]
    NotConnected(PublicKey),
}

/// Opens and closes connections to peers.
pub struct Connector {
    context: Context,
    our_node_id: PublicKey,
    book: Arc<dyn AddressBook>,
    channel_peers: Arc<ChannelPeers>,
}

impl Connector {
    pub fn new(
        context: Context,
        our_node_id: PublicKey,
        book: Arc<dyn AddressBook>,
        channel_peers: Arc<ChannelPeers>,
    ) -> Self {
        Self {
            context,
            our_node_id,
            book,
            channel_peers,
        }
    }

    /// Connects to `peer` at `address` (`host`, `host:port`, `[v6]:port`), within `limit`.
    ///
    /// Returns once both sides have completed the handshake and exchanged their features. The
    /// address of a reachable peer is stored for later connections.
    pub async fn connect(
        &self,
        peer: PublicKey,
        address: &str,
        limit: Duration,
    ) -> Result<Connected, ConnectError> {
        if peer == self.our_node_id {
            return Err(ConnectError::ToSelf);
        }
        if self.is_connected(&peer) {
            return Ok(Connected::Already);
        }
        let address = with_port(address)?;
        match timeout(limit, self.reach(peer, &address)).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(ConnectError::Timeout {
                    address,
                    seconds: limit.as_secs(),
                });
            }
        }
        self.book.remember(peer, address);
        Ok(Connected::Now)
    }

    /// Disconnects a peer. Its address is removed unless we have a channel with it.
    pub fn disconnect(&self, peer: &PublicKey) -> Result<(), DisconnectError> {
        if !self.is_connected(peer) {
            return Err(DisconnectError::NotConnected(*peer));
        }
        if !(self.channel_peers)().contains(peer) {
            self.book.forget(peer);
        }
        self.context.peers.disconnect_by_node_id(*peer);
        Ok(())
    }

    /// Returns whether the peer is connected and its handshake completed.
    pub fn is_connected(&self, peer: &PublicKey) -> bool {
        self.context.peers.peer_by_node_id(peer).is_some()
    }

    async fn reach(&self, peer: PublicKey, address: &str) -> Result<(), ConnectError> {
        let stream = dial(address).await?;
        tcp::prepare(&stream).map_err(|source| ConnectError::Io {
            address: address.to_owned(),
            source,
        })?;
        let close = CancellationToken::new();
        // Closes the connection if the future is dropped before the handshake completes.
        let guard = close.clone().drop_guard();
        let context = self.context.clone();
        let mut gone = tokio::spawn(connection::serve_outbound(context, peer, stream, close));
        let mut poll = interval(POLL_INTERVAL);
        let connected = loop {
            tokio::select! {
                // Also if the peer connected to us at the same time and LDK keeps that connection.
                _ = &mut gone => break self.is_connected(&peer),
                _ = poll.tick() => if self.is_connected(&peer) { break true },
            }
        };
        if connected {
            guard.disarm();
            return Ok(());
        }
        Err(ConnectError::Handshake {
            peer,
            address: address.to_owned(),
        })
    }
}

/// Adds the default port if there is none, and rejects invalid addresses.
pub fn with_port(address: &str) -> Result<String, ConnectError> {
    let unusable = |reason: &str| {
        let address = address.to_owned();
        ConnectError::Address {
            address,
            reason: reason.to_owned(),
        }
    };
    if let Ok(ip) = address.trim_matches(['[', ']']).parse() {
        return Ok(SocketAddr::new(ip, DEFAULT_PORT).to_string());
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => {
            let port = port
                .parse()
                .map_err(|_| unusable("the port must be a number below 65536"));
            (host, port?)
        }
        None => (address, DEFAULT_PORT),
    };
    if host.is_empty() {
        return Err(unusable("the host is missing; use host:port"));
    }
    if host.ends_with(".onion") {
        return Err(unusable("Tor addresses are not supported yet"));
    }
    Ok(format!("{host}:{port}"))
}

/// Tries the addresses of a host in turn.
async fn dial(address: &str) -> Result<TcpStream, ConnectError> {
    let resolved = lookup_host(address)
        .await
        .map_err(|error| ConnectError::Address {
            address: address.to_owned(),
            reason: error.to_string(),
        })?;
    let mut last = None;
    for candidate in resolved {
        match TcpStream::connect(candidate).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let address = address.to_owned();
    Err(match last {
        None => ConnectError::Address {
            address,
            reason: "the host name has no addresses".to_owned(),
        },
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            ConnectError::Refused { address }
        }
        Some(source) => ConnectError::Io { address, source },
    })
}

#[cfg(test)]
mod tests;
