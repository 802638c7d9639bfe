//! Accepts inbound peer connections.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::address::ip_address;
use super::address_book::ChannelPeers;
use super::connection::Context;
use super::inbound_limit::{Bounds, Inbound};
use super::{connection, tcp};
use crate::sync::lock;

/// The limits on inbound connections from peers without channels, sufficient for wallets and
/// gossip. Each connection costs a file descriptor and about 100 kB, or 1 MB if the peer does not
/// read the data that it requests.
const MAX_BOUNDS: Bounds = Bounds {
    unknown_peers: 100,
    per_address: 32,
};

/// The share of the file descriptor limit, as a divisor, for peers without channels. The rest is
/// for channel peers, API clients, donation page visitors, and the database.
const FILES_PER_UNKNOWN_PEER: u64 = 8;

/// Returns the limits for a process with this maximum number of open files.
#[must_use]
pub fn bounds(files: u64) -> Bounds {
    let unknown_peers =
        usize::try_from(files / FILES_PER_UNKNOWN_PEER).unwrap_or(MAX_BOUNDS.unknown_peers);
    let unknown_peers = unknown_peers.clamp(10, MAX_BOUNDS.unknown_peers);
    Bounds {
        unknown_peers,
        per_address: MAX_BOUNDS.per_address.min(unknown_peers / 3),
    }
}

/// The length of the accept queue. In a flood, connections of honest peers would otherwise be
/// dropped, and their systems retry only after a second.
const ACCEPT_QUEUE_LEN: u32 = 1024;

/// The pause after a failed accept: the process is out of file descriptors or memory.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(200);

/// How long the list of channel peers is cached. In a flood it is needed for every connection, and
/// computing it visits all channels.
const CHANNEL_PEERS_TTL: Duration = Duration::from_secs(1);

/// An address on which the node cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for peers on {address}: {source}; choose another address or port")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Accepts connections on all listening addresses.
pub struct Listener {
    context: Context,
    channel_peers: RecentPeers,
    inbound: Arc<Inbound>,
    bounds: Bounds,
}

/// Binds every address; with port 0 the system chooses the port (ask the socket for it).
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenError> {
    let mut sockets = Vec::with_capacity(addresses.len());
    for &address in addresses {
        sockets.push(bind_one(address).map_err(|source| ListenError { address, source })?);
    }
    Ok(sockets)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // After a restart, connections of the previous process may still be closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE_LEN)
}

impl Listener {
    /// `bounds` are the limits for peers without channels; see [`bounds`].
    pub fn new(context: Context, channel_peers: Arc<ChannelPeers>, bounds: Bounds) -> Self {
        Self {
            context,
            channel_peers: RecentPeers::new(channel_peers),
            inbound: Arc::default(),
            bounds,
        }
    }

    /// Accepts connections on one socket until `stop`. Run it once for each socket.
    pub async fn run(&self, socket: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, address),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an inbound connection");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        self.inbound
            .make_room(address, self.bounds, || self.known_addresses());
        if let Err(error) = tcp::prepare(&stream) {
            tracing::debug!(%address, %error, "inbound connection closed immediately");
            return;
        }
        let close = CancellationToken::new();
        let number = self.inbound.add(address, close.clone());
        let inbound = Arc::clone(&self.inbound);
        let served = connection::serve_inbound(self.context.clone(), stream, close);
        tokio::spawn(async move {
            served.await;
            inbound.remove(number);
        });
    }

    /// Returns the addresses from which channel peers are connected.
    fn known_addresses(&self) -> HashSet<SocketAddr> {
        let with_channels = self.channel_peers.get(Instant::now());
        self.context
            .peers
            .list_peers()
            .into_iter()
            .filter(|peer| with_channels.contains(&peer.counterparty_node_id))
            .filter_map(|peer| ip_address(peer.socket_address.as_ref()?))
            .collect()
    }
}

/// The channel peers, cached for [`CHANNEL_PEERS_TTL`].
struct RecentPeers {
    find: Arc<ChannelPeers>,
    found: Mutex<Option<(Instant, Arc<HashSet<PublicKey>>)>>,
}

impl RecentPeers {
    fn new(find: Arc<ChannelPeers>) -> Self {
        Self {
            find,
            found: Mutex::default(),
        }
    }

    fn get(&self, now: Instant) -> Arc<HashSet<PublicKey>> {
        let mut found = lock(&self.found);
        match &*found {
            Some((since, peers)) if now < *since + CHANNEL_PEERS_TTL => Arc::clone(peers),
            _ => {
                let peers = Arc::new((self.find)());
                *found = Some((now, Arc::clone(&peers)));
                peers
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn channel_peers_are_cached_for_a_second() {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        let recent = RecentPeers::new(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            HashSet::new()
        }));
        let start = Instant::now();
        for millis in 0..2_500 {
            recent.get(start + Duration::from_millis(millis));
        }
        assert_eq!(looks.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn unknown_peers_get_a_share_of_the_file_limit() {
        assert_eq!(bounds(u64::MAX), MAX_BOUNDS);
        assert_eq!(bounds(1_024), MAX_BOUNDS);
        let few = Bounds {
            unknown_peers: 32,
            per_address: 10,
        };
        assert_eq!(bounds(256), few);
        assert_eq!(bounds(10).unknown_peers, 10);
    }

    #[tokio::test]
    async fn accept_queue_holds_a_flood() {
        let any = "127.0.0.1:0".parse().unwrap();
        let socket = bind(&[any]).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        // std has a backlog of 128. None of these connections is accepted.
        let mut waiting = Vec::new();
        for _ in 0..200 {
            let connection = TcpStream::connect(address);
            let connected = tokio::time::timeout(Duration::from_secs(5), connection).await;
            waiting.push(connected.expect("the backlog is full").unwrap());
        }
    }
}
