//! The node to connect to, the local address and the identity.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use bitcoin::secp256k1::{All, PublicKey, Secp256k1, SecretKey};
use tokio::net::{TcpSocket, TcpStream};

use crate::manual_amp::random;
use crate::node::Node;

/// Shared because creating its tables takes a while.
pub(super) static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// A node to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub key: PublicKey,
    /// The local address to connect from.
    pub from: IpAddr,
}

impl Target {
    /// A node of the network, connected to from 127.0.0.1.
    ///
    /// # Errors
    /// If it was never started, since its key is then unknown.
    pub fn of(node: &Node) -> Result<Self> {
        let key = node.key().parse();
        Ok(Self {
            address: node.peer_address().parse()?,
            key: key
                .with_context(|| format!("{} was never started and has no key yet", node.name()))?,
            from: Ipv4Addr::LOCALHOST.into(),
        })
    }

    /// Connects from another address; on Linux all of 127.0.0.0/8 is local.
    pub fn from(self, address: Ipv4Addr) -> Self {
        Self {
            from: address.into(),
            ..self
        }
    }

    /// Opens a TCP connection without sending anything.
    pub async fn dial(&self) -> Result<TcpStream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(self.from, 0))?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A node key of the test. Anybody can create any number of identities.
#[derive(Clone, Copy, Debug)]
pub struct Identity(pub(super) SecretKey);

impl Identity {
    pub fn random() -> Self {
        Self(random_key())
    }

    pub fn key(&self) -> PublicKey {
        self.0.public_key(&SECP)
    }
}

pub(super) fn random_key() -> SecretKey {
    SecretKey::from_slice(&random()).expect("a random 32 byte string is a valid key")
}
