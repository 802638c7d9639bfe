//! Keeps the node connected to channel peers and permanent peers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::address_book::{AddressBook, ChannelPeers};
use super::connect::{Connector, DisconnectError};
use crate::ldk::NetworkGraph;
use crate::sync::lock;

/// How often to check for missing peers.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The delay after the first failure; it doubles with each further failure.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// The maximum delay between attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// The connection timeout for each address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of concurrent attempts: after a restart with many channels all peers are
/// missing.
const MAX_CONCURRENT_ATTEMPTS: usize = 32;

/// Reconnects to channel peers and to peers requested as permanent.
pub struct Reconnector {
    connector: Arc<Connector>,
    book: Arc<dyn AddressBook>,
    channel_peers: Arc<ChannelPeers>,
    graph: Arc<NetworkGraph>,
    permanent: Mutex<HashSet<PublicKey>>,
}

/// The retry state of a missing peer.
#[derive(Debug, Clone, Copy)]
struct Missing {
    failures: u32,
    next: Instant,
}

impl Reconnector {
    pub fn new(
        connector: Arc<Connector>,
        book: Arc<dyn AddressBook>,
        channel_peers: Arc<ChannelPeers>,
        graph: Arc<NetworkGraph>,
    ) -> Self {
        Self {
            connector,
            book,
            channel_peers,
            graph,
            permanent: Mutex::default(),
        }
    }

    /// Keeps a connection to this peer while the node runs (like lnd, not after a restart).
    pub fn keep(&self, peer: PublicKey) {
        self.permanent().insert(peer);
    }

    /// Disconnects this peer. If we have a channel with it, the node reconnects soon; a permanent
    /// peer is no longer permanent.
    ///
    /// # Errors
    ///
    /// [`DisconnectError`] if the peer is not connected; nothing is changed in this case.
    pub fn disconnect(&self, peer: &PublicKey) -> Result<(), DisconnectError> {
        if !self.connector.is_connected(peer) {
            return Err(DisconnectError::NotConnected(*peer));
        }
        // Removed first, otherwise the node would reconnect immediately.
        self.permanent().remove(peer);
        self.connector.disconnect(peer)
    }

    /// Reconnects until `stop`; attempts in progress are then dropped.
    pub async fn run(&self, stop: CancellationToken) {
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut attempts = JoinSet::new();
        let mut missing: HashMap<PublicKey, Missing> = HashMap::new();
        let mut trying: HashSet<PublicKey> = HashSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = poll.tick() => {
                    let due = self.due(&mut missing, &trying);
                    for (peer, addresses) in self.with_addresses(due) {
                        trying.insert(peer);
                        attempts.spawn(attempt(Arc::clone(&self.connector), peer, addresses));
                    }
                }
                Some(done) = attempts.join_next() => {
                    // Otherwise a panic in an attempt would leave its peer in `trying` forever.
                    let Ok((peer, connected)) = done else { trying.clear(); continue };
                    trying.remove(&peer);
                    note(&mut missing, peer, connected);
                }
            }
        }
    }

    /// Returns the missing peers that are due for an attempt, limited to the number of free
    /// attempts.
    fn due(
        &self,
        missing: &mut HashMap<PublicKey, Missing>,
        trying: &HashSet<PublicKey>,
    ) -> Vec<PublicKey> {
        let mut wanted = (self.channel_peers)();
        wanted.extend(self.permanent().iter());
        wanted.retain(|peer| !self.connector.is_connected(peer));
        // Forget the failures of peers that are connected or no longer wanted.
        missing.retain(|peer, _| wanted.contains(peer));
        let now = Instant::now();
        let rested = |peer: &PublicKey| missing.get(peer).is_none_or(|state| state.next <= now);
        let room = MAX_CONCURRENT_ATTEMPTS.saturating_sub(trying.len());
        wanted
            .into_iter()
            .filter(|p| !trying.contains(p) && rested(p))
            .take(room)
            .collect()
    }

    /// Returns the addresses of these peers: first those that worked before, then the announced
    /// ones.
    fn with_addresses(&self, peers: Vec<PublicKey>) -> Vec<(PublicKey, Vec<String>)> {
        if peers.is_empty() {
            return Vec::new();
        }
        let book = self.book.addresses().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the stored peer addresses");
            Vec::new()
        });
        let known = |peer: &PublicKey| {
            let remembered = book.iter().filter(|(owner, _)| owner == peer);
            let mut addresses: Vec<String> = remembered.map(|(_, text)| text.clone()).collect();
            let announced = self
                .graph
                .read_only()
                .get_addresses(peer)
                .unwrap_or_default();
            addresses.extend(announced.iter().map(ToString::to_string));
            addresses
        };
        peers.into_iter().map(|peer| (peer, known(&peer))).collect()
    }

    fn permanent(&self) -> MutexGuard<'_, HashSet<PublicKey>> {
        lock(&self.permanent)
    }
}

/// Tries the addresses of a peer in turn.
async fn attempt(
    connector: Arc<Connector>,
    peer: PublicKey,
    addresses: Vec<String>,
) -> (PublicKey, bool) {
    for address in &addresses {
        match connector.connect(peer, address, CONNECT_TIMEOUT).await {
            Ok(_) => return (peer, true),
            Err(error) => tracing::debug!(%peer, %error, "cannot reconnect"),
        }
    }
    (peer, false)
}

/// Records the result of an attempt and schedules the next one.
///
/// A connection that lasted only briefly does not reset the backoff: the peer stays in the list
/// until the next check finds it connected.
fn note(missing: &mut HashMap<PublicKey, Missing>, peer: PublicKey, connected: bool) {
    let failures = missing.get(&peer).map_or(0, |state| state.failures);
    let failures = if connected {
        failures
    } else {
        failures.saturating_add(1)
    };
    let next = Instant::now() + jittered(pause(failures), getrandom::u32().unwrap_or(0));
    missing.insert(peer, Missing { failures, next });
}

/// Returns the backoff after this many failures: 1 s, 2 s, 4 s, ... up to five minutes.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    MIN_BACKOFF.saturating_mul(1 << doublings).min(MAX_BACKOFF)
}

/// Returns between 75 % and 125 % of `pause`, chosen by `random`: two nodes that connect to each
/// other at the same time would keep closing each other's connections.
fn jittered(pause: Duration, random: u32) -> Duration {
    let fraction = f64::from(random) / f64::from(u32::MAX);
    pause.mul_f64(0.75 + fraction / 2.0)
}

#[cfg(test)]
mod tests;
