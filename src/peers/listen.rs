//! Accepts connections of peers.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::address::ip_address;
use super::book::ChannelPeers;
use super::inbound::{Bounds, Inbound};
use super::{connection, socket};
use crate::ldk::PeerManager;

/// Inbound connections of nodes that have no channel with us: enough for wallets and gossip. Each costs a
/// file descriptor and some 100 kB, or a megabyte if it does not read what it asks for.
const MOST: Bounds = Bounds {
    strangers: 100,
    per_address: 32,
};

/// An eighth of the files that the process may have open is for strangers: most are for peers with channels,
/// callers, visitors, and the database.
const FILES_PER_STRANGER: u64 = 8;

/// The bounds on strangers in a process that may have so many files open.
#[must_use]
pub fn bounds(files: u64) -> Bounds {
    let strangers = usize::try_from(files / FILES_PER_STRANGER).unwrap_or(MOST.strangers);
    let strangers = strangers.clamp(10, MOST.strangers);
    Bounds {
        strangers,
        per_address: MOST.per_address.min(strangers / 3),
    }
}

/// Connections that may wait until we accept them. In a flood those of honest peers would else be lost, and
/// their systems try again after a second.
const BACKLOG: u32 = 1024;

/// Pause after the system refused to accept: it is out of descriptors, or of memory.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// For how long the list of peers with channels is good. In a flood it is needed for each connection, and to make
/// it means a look at all channels.
const GOOD_FOR: Duration = Duration::from_secs(1);

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
    channel_peers: RecentPeers,
    inbound: Arc<Inbound>,
    bounds: Bounds,
}

/// Binds every address; port 0 lets the system choose (ask the socket which).
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
    // After a restart, connections of the process before may still be on their way out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Listener {
    /// `bounds` are those on nodes without channels; see [`bounds`].
    pub fn new(peers: Arc<PeerManager>, channel_peers: Arc<ChannelPeers>, bounds: Bounds) -> Self {
        Self {
            peers,
            channel_peers: RecentPeers::new(channel_peers),
            inbound: Arc::default(),
            bounds,
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
                    tracing::warn!(%error, "cannot accept an inbound connection");
                    sleep(EXHAUSTED).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        self.inbound
            .make_room(address, self.bounds, || self.known_addresses());
        if let Err(error) = socket::prepare(&stream) {
            tracing::debug!(%address, %error, "inbound connection closed immediately");
            return;
        }
        let close = CancellationToken::new();
        let number = self.inbound.add(address, close.clone());
        let inbound = Arc::clone(&self.inbound);
        let served = connection::serve_inbound(Arc::clone(&self.peers), stream, close);
        tokio::spawn(async move {
            served.await;
            inbound.remove(number);
        });
    }

    /// The addresses from which peers with channels are connected.
    fn known_addresses(&self) -> HashSet<SocketAddr> {
        let with_channels = self.channel_peers.get(Instant::now());
        self.peers
            .list_peers()
            .into_iter()
            .filter(|peer| with_channels.contains(&peer.counterparty_node_id))
            .filter_map(|peer| ip_address(peer.socket_address.as_ref()?))
            .collect()
    }
}

/// The peers with channels, as they were a moment ago.
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
        // Poisoning is ignored: no holder of this lock can panic in the middle of a change.
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match &*found {
            Some((since, peers)) if now < *since + GOOD_FOR => Arc::clone(peers),
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
    fn channels_are_looked_at_once_a_second_in_a_flood() {
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
    fn strangers_leave_files_for_the_rest_of_the_node() {
        assert_eq!(bounds(u64::MAX), MOST);
        assert_eq!(bounds(1_024), MOST);
        let few = Bounds {
            strangers: 32,
            per_address: 10,
        };
        assert_eq!(bounds(256), few);
        assert_eq!(bounds(10).strangers, 10);
    }

    #[tokio::test]
    async fn a_flood_leaves_room_in_the_backlog() {
        let any = "127.0.0.1:0".parse().unwrap();
        let socket = bind(&[any]).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        // std has a backlog of 128. None of these is accepted.
        let mut waiting = Vec::new();
        for _ in 0..200 {
            let connection = TcpStream::connect(address);
            let connected = tokio::time::timeout(Duration::from_secs(5), connection).await;
            waiting.push(connected.expect("the backlog is full").unwrap());
        }
    }
}
