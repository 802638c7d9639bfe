//! Keeps us connected to the peers that matter.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::book::{ChannelPeers, PeerBook};
use super::connect::{Connector, DisconnectError};
use crate::ldk::NetworkGraph;

/// How often we look who is missing.
const LOOK: Duration = Duration::from_millis(500);
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause. A peer that is away for long is asked for this often.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long one address gets.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts at the same time: after a restart with many channels all peers are missing.
const AT_ONCE: usize = 32;

/// Reconnects to the peers with whom we have channels, and to those asked for as permanent.
pub struct Reconnector {
    connector: Arc<Connector>,
    book: Arc<dyn PeerBook>,
    channel_peers: Arc<ChannelPeers>,
    graph: Arc<NetworkGraph>,
    permanent: Mutex<HashSet<PublicKey>>,
}

/// When a peer that is missing is tried again.
#[derive(Debug, Clone, Copy)]
struct Missing {
    failures: u32,
    next: Instant,
}

impl Reconnector {
    pub fn new(
        connector: Arc<Connector>,
        book: Arc<dyn PeerBook>,
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

    /// Keeps a connection to this peer as long as the node runs (as lnd, not beyond).
    pub fn keep(&self, peer: PublicKey) {
        self.permanent().insert(peer);
    }

    /// Ends the connection to this peer. If we have a channel with it, the connection is made again
    /// soon; a peer that was to be kept for another reason no longer is.
    ///
    /// # Errors
    /// If the peer is not connected; nothing is changed then.
    pub fn disconnect(&self, peer: &PublicKey) -> Result<(), DisconnectError> {
        if !self.connector.is_connected(peer) {
            return Err(DisconnectError::NotConnected(*peer));
        }
        // First, or the connection would be made again at once.
        self.permanent().remove(peer);
        self.connector.disconnect(peer)
    }

    /// Reconnects until `stop`; attempts under way are dropped then.
    pub async fn run(&self, stop: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut attempts = JoinSet::new();
        let mut missing: HashMap<PublicKey, Missing> = HashMap::new();
        let mut trying: HashSet<PublicKey> = HashSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {
                    let due = self.due(&mut missing, &trying);
                    for (peer, addresses) in self.with_addresses(due) {
                        trying.insert(peer);
                        attempts.spawn(attempt(Arc::clone(&self.connector), peer, addresses));
                    }
                }
                Some(done) = attempts.join_next() => {
                    // A panic in an attempt would leave its peer in `trying` for good.
                    let Ok((peer, connected)) = done else { trying.clear(); continue };
                    trying.remove(&peer);
                    note(&mut missing, peer, connected);
                }
            }
        }
    }

    /// The wanted peers that are not connected and whose time has come, few enough to try now.
    fn due(
        &self,
        missing: &mut HashMap<PublicKey, Missing>,
        trying: &HashSet<PublicKey>,
    ) -> Vec<PublicKey> {
        let mut wanted = (self.channel_peers)();
        wanted.extend(self.permanent().iter());
        wanted.retain(|peer| !self.connector.is_connected(peer));
        // Forget the failures of peers that are back, or not wanted any more.
        missing.retain(|peer, _| wanted.contains(peer));
        let now = Instant::now();
        let rested = |peer: &PublicKey| missing.get(peer).is_none_or(|state| state.next <= now);
        let room = AT_ONCE.saturating_sub(trying.len());
        wanted
            .into_iter()
            .filter(|p| !trying.contains(p) && rested(p))
            .take(room)
            .collect()
    }

    /// The addresses of these peers: what worked before, then what they announce.
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

    /// Ignores poisoning: no holder of this lock can panic in the middle of a change.
    fn permanent(&self) -> MutexGuard<'_, HashSet<PublicKey>> {
        self.permanent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries the addresses of a peer one after another.
async fn attempt(
    connector: Arc<Connector>,
    peer: PublicKey,
    addresses: Vec<String>,
) -> (PublicKey, bool) {
    for address in &addresses {
        match connector.connect(peer, address, PATIENCE).await {
            Ok(_) => return (peer, true),
            Err(error) => tracing::debug!(%peer, %error, "cannot reconnect"),
        }
    }
    (peer, false)
}

/// Notes how an attempt ended, and sets the next one.
///
/// A connection that stood only for a moment is no reason to start over at once: the peer stays
/// in the list until the next look finds it connected.
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

/// The pause after so many failures: 1 s, 2 s, 4 s, ... up to five minutes.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE)
}

/// Between three quarters and five quarters of `pause`, by `random`: two nodes that try to reach
/// each other at the same moments would end each other's connections again and again.
fn jittered(pause: Duration, random: u32) -> Duration {
    let fraction = f64::from(random) / f64::from(u32::MAX);
    pause.mul_f64(0.75 + fraction / 2.0)
}

#[cfg(test)]
mod tests;
