//! What API clients can do with peers.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::sync::broadcast;

use super::connect::{ConnectError, Connected, Connector, DisconnectError};
use super::connection::PeerManager;
use super::custom_messages::{CustomMessage, CustomMessages, PeerEvent};
use super::list::{self, Peer};
use super::reconnect::Reconnector;

/// The message was not sent because the peer is not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("peer is not connected")]
pub struct NotConnected;

/// The node's peers and their connections.
pub struct Peers {
    manager: Arc<PeerManager>,
    connector: Arc<Connector>,
    reconnector: Arc<Reconnector>,
    messages: Arc<CustomMessages>,
}

impl Peers {
    pub fn new(
        manager: Arc<PeerManager>,
        connector: Arc<Connector>,
        reconnector: Arc<Reconnector>,
        messages: Arc<CustomMessages>,
    ) -> Self {
        Self {
            manager,
            connector,
            reconnector,
            messages,
        }
    }

    /// Returns all peers whose handshake is complete, ordered by public key.
    pub fn list(&self) -> Vec<Peer> {
        list::peers(&self.manager)
    }

    /// Connects to a peer, see [`Connector::connect`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`] with the reason.
    pub async fn connect(
        &self,
        peer: PublicKey,
        address: &str,
        limit: Duration,
    ) -> Result<Connected, ConnectError> {
        self.connector.connect(peer, address, limit).await
    }

    /// Keeps a connection to this peer, see [`Reconnector::keep`].
    pub fn keep(&self, peer: PublicKey) {
        self.reconnector.keep(peer);
    }

    /// Disconnects this peer, see [`Reconnector::disconnect`].
    ///
    /// # Errors
    ///
    /// [`DisconnectError`] if the peer is not connected.
    pub fn disconnect(&self, peer: &PublicKey) -> Result<(), DisconnectError> {
        self.reconnector.disconnect(peer)
    }

    /// Passes a custom message to LDK at once.
    ///
    /// # Errors
    ///
    /// [`NotConnected`]; nothing is sent later in this case.
    pub fn send(&self, peer: PublicKey, message: CustomMessage) -> Result<(), NotConnected> {
        if !self.connector.is_connected(&peer) {
            return Err(NotConnected);
        }
        self.messages.send(peer, message);
        self.manager.process_events();
        Ok(())
    }

    /// Subscribes to all custom messages from now on.
    pub fn messages(&self) -> broadcast::Receiver<(PublicKey, CustomMessage)> {
        self.messages.listen()
    }

    /// Subscribes to peers' connects and disconnects from now on.
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.messages.listen_to_peers()
    }
}
