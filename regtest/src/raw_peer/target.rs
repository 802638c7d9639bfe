//! Whom to connect to, from where, and as whom.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use bitcoin::secp256k1::{All, PublicKey, Secp256k1, SecretKey};
use tokio::net::{TcpSocket, TcpStream};

use crate::by_hand::random;
use crate::node::Node;

/// Made once: its tables take a moment.
pub(super) static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// A node to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub key: PublicKey,
    /// The address that we connect from.
    pub from: IpAddr,
}

impl Target {
    /// A node of the network, from 127.0.0.1.
    ///
    /// # Errors
    /// If it was never started: then its key is not known.
    pub fn of(node: &Node) -> Result<Self> {
        let key = node.key().parse();
        Ok(Self {
            address: node.peer_address().parse()?,
            key: key.with_context(|| format!("{} has no key yet", node.name()))?,
            from: Ipv4Addr::LOCALHOST.into(),
        })
    }

    /// Connects from another address; on Linux all of 127.0.0.0/8 are ours.
    pub fn from(self, address: Ipv4Addr) -> Self {
        Self {
            from: address.into(),
            ..self
        }
    }

    /// A TCP connection on which nothing was sent yet.
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

/// A node key of ours. Anybody can have as many as he likes.
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
    SecretKey::from_slice(&random()).expect("one of 2^128 draws is no key")
}
