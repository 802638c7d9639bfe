//! Data that peers store with us (BOLT 1, `peer_storage`) and receive back when they connect.
//!
//! LDK accepts at most 1,024 bytes, and returns an outdated blob once the peer's is longer, so this
//! replaces its implementation. Blobs are stored only for peers with a confirmed channel: channels
//! whose funding never confirms cost a peer nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::channel_messages::PeerBlobs;
use crate::storage::peer_storage::{DeletePeerBlob, PutNoChannelSince, PutPeerBlob};
use crate::storage::{StorageError, Store, Ticket};
use crate::sync::lock;

/// The maximum length of a blob, in bytes (BOLT 1).
const MAX_BLOB_BYTES: usize = 65_531;
/// The maximum number of peers with a stored blob: 64 MiB on disk.
const MAX_PEERS: usize = 1_024;
/// The maximum number of peers without a confirmed channel whose blob is kept in memory: 4 MiB.
const MAX_UNCONFIRMED_PEERS: usize = 64;
/// How long a blob is kept after the peer's last channel was closed, in blocks (BOLT 1).
const RETENTION_BLOCKS: u32 = 2_016;
/// How often to check for blobs to write and for a new block.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The minimum interval between writes of blobs of [`MAX_BLOB_BYTES`] bytes. BOLT 1 allows delaying
/// any write to once a minute; shorter blobs are delayed less, so that a crash loses less.
const MAX_WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// The channel status of a peer, which determines whether it may store data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    NoChannel,
    /// The peer's channels are funded, but none is confirmed.
    Unconfirmed,
    Confirmed,
}

/// The channel data that peer storage needs.
pub trait PeerChannels: Send + Sync {
    fn standing(&self, peer: &PublicKey) -> Standing;
    /// Returns the height of the best block.
    fn height(&self) -> u32;
}

/// The blobs of all peers. Blobs already written are only in the database.
pub struct PeerStorage {
    store: Arc<Store>,
    channels: Arc<dyn PeerChannels>,
    blobs: Mutex<Blobs>,
}

#[derive(Default)]
struct Blobs {
    stored: HashMap<PublicKey, Stored>,
    /// The blobs of connected peers without a confirmed channel yet.
    unconfirmed: HashMap<PublicKey, Arc<[u8]>>,
    /// The height at which all peers' channels were last checked.
    height: Option<u32>,
}

/// A peer with a row in the database, or about to have one.
#[derive(Default)]
struct Stored {
    /// The newest blob, until it is on disk.
    newest: Option<Arc<[u8]>>,
    /// The time before which no further blob is written.
    rests_until: Option<Instant>,
    /// The block height at which the peer was first seen without a channel.
    no_channel_since: Option<u32>,
}

/// A blob that was passed to the writer.
struct Submitted {
    peer: PublicKey,
    blob: Arc<[u8]>,
    ticket: Ticket,
}

impl PeerStorage {
    /// # Errors
    ///
    /// [`StorageError`] if the database cannot be read.
    pub fn open(store: Arc<Store>, channels: Arc<dyn PeerChannels>) -> Result<Self, StorageError> {
        let known = store.peers_with_blobs()?.into_iter();
        let stored = known.map(|(peer, no_channel_since)| {
            let stored = Stored {
                no_channel_since,
                ..Stored::default()
            };
            (peer, stored)
        });
        let blobs = Blobs {
            stored: stored.collect(),
            ..Blobs::default()
        };
        Ok(Self {
            store,
            channels,
            blobs: Mutex::new(blobs),
        })
    }

    /// Writes pending blobs and deletes expired ones, until `stop`. Then all pending blobs are
    /// passed to the writer.
    pub async fn run(&self, stop: CancellationToken) {
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = async {
                    poll.tick().await;
                    self.follow_channels();
                    let submitted = self.submit(|stored| stored.is_due(Instant::now()));
                    self.finish(submitted).await;
                } => {}
            }
        }
        self.submit(|_| true);
    }

    /// Passes the selected pending blobs to the writer.
    fn submit(&self, is_chosen: impl Fn(&Stored) -> bool) -> Vec<Submitted> {
        let mut blobs = self.blobs();
        let mut submitted = Vec::new();
        for (&peer, stored) in blobs.stored.iter_mut().filter(|(_, s)| is_chosen(s)) {
            let Some(blob) = stored.newest.clone() else {
                continue;
            };
            stored.rests_until = Some(Instant::now() + pause_after(blob.len()));
            let put = PutPeerBlob {
                node_id: peer,
                blob: blob.clone(),
            };
            let ticket = self.store.submit_deferred(put);
            submitted.push(Submitted { peer, blob, ticket });
        }
        submitted
    }

    /// Waits until the blobs are on disk and removes them from memory.
    async fn finish(&self, submitted: Vec<Submitted>) {
        for Submitted { peer, blob, ticket } in submitted {
            self.store.durable(ticket).await;
            if let Some(stored) = self.blobs().stored.get_mut(&peer) {
                stored.newest.take_if(|newest| Arc::ptr_eq(newest, &blob));
            }
        }
    }

    /// Checks once per block which peers have channels.
    fn follow_channels(&self) {
        let height = self.channels.height();
        if self.blobs().height == Some(height) {
            return;
        }
        let peers: Vec<PublicKey> = {
            let blobs = self.blobs();
            let peers = blobs.stored.keys().chain(blobs.unconfirmed.keys());
            peers.copied().collect()
        };
        for peer in peers {
            let standing = self.channels.standing(&peer);
            self.follow_peer(peer, standing, height);
        }
        self.blobs().height = Some(height);
    }

    fn follow_peer(&self, peer: PublicKey, standing: Standing, height: u32) {
        let mut blobs = self.blobs();
        if standing == Standing::Confirmed
            && let Some(blob) = blobs.unconfirmed.remove(&peer)
        {
            self.accept(&mut blobs, peer, blob);
        }
        let Some(stored) = blobs.stored.get_mut(&peer) else {
            return;
        };
        let since = match standing {
            Standing::NoChannel => Some(stored.no_channel_since.unwrap_or(height)),
            Standing::Unconfirmed | Standing::Confirmed => None,
        };
        if since.is_some_and(|since| height >= since.saturating_add(RETENTION_BLOCKS)) {
            blobs.stored.remove(&peer);
            self.store.submit_deferred(DeletePeerBlob(peer));
        } else if stored.no_channel_since != since {
            stored.no_channel_since = since;
            self.store.submit_deferred(PutNoChannelSince {
                node_id: peer,
                height: since,
            });
        }
    }

    /// Stores the blob as pending, if there is room.
    fn accept(&self, blobs: &mut Blobs, peer: PublicKey, blob: Arc<[u8]>) {
        let is_new = !blobs.stored.contains_key(&peer);
        if is_new && blobs.stored.len() >= MAX_PEERS && !self.make_room(blobs) {
            tracing::warn!(%peer, "peer storage refused: {MAX_PEERS} peers already store a blob");
            return;
        }
        blobs.stored.entry(peer).or_default().newest = Some(blob);
    }

    /// Deletes the blob of the peer that has been without a channel for the longest time. Returns
    /// false if all peers have channels.
    fn make_room(&self, blobs: &mut Blobs) -> bool {
        let without = blobs.stored.iter().filter_map(|(peer, stored)| {
            let since = stored.no_channel_since?;
            Some((since, *peer))
        });
        let Some((_, peer)) = without.min() else {
            return false;
        };
        blobs.stored.remove(&peer);
        self.store.submit_deferred(DeletePeerBlob(peer));
        true
    }

    fn blobs(&self) -> MutexGuard<'_, Blobs> {
        lock(&self.blobs)
    }
}

impl PeerBlobs for PeerStorage {
    fn put(&self, peer: PublicKey, blob: Vec<u8>) {
        // A longer blob does not fit into a message.
        if blob.len() > MAX_BLOB_BYTES {
            return;
        }
        let standing = self.channels.standing(&peer);
        let mut blobs = self.blobs();
        match standing {
            // Core Lightning also sends it to peers with which it has no channel yet.
            Standing::NoChannel => {
                tracing::debug!(%peer, "peer storage refused: no channel with this peer")
            }
            Standing::Unconfirmed if !blobs.stored.contains_key(&peer) => {
                if blobs.unconfirmed.len() < MAX_UNCONFIRMED_PEERS
                    || blobs.unconfirmed.contains_key(&peer)
                {
                    blobs.unconfirmed.insert(peer, blob.into());
                }
            }
            Standing::Unconfirmed | Standing::Confirmed => {
                blobs.unconfirmed.remove(&peer);
                self.accept(&mut blobs, peer, blob.into());
            }
        }
    }

    fn has(&self, peer: &PublicKey) -> bool {
        self.blobs().stored.contains_key(peer)
    }

    fn newest(&self, peer: &PublicKey) -> Option<Vec<u8>> {
        let newest = self.blobs().stored.get(peer)?.newest.clone();
        if let Some(newest) = newest {
            return Some(newest.to_vec());
        }
        self.store.peer_blob(peer).unwrap_or_else(|error| {
            tracing::error!(%peer, "cannot read the peer storage blob: {error}");
            None
        })
    }

    fn disconnected(&self, peer: &PublicKey) {
        self.blobs().unconfirmed.remove(peer);
    }
}

impl Stored {
    fn is_due(&self, now: Instant) -> bool {
        self.newest.is_some() && self.rests_until.is_none_or(|until| until <= now)
    }
}

/// Returns how long a peer's next blob is delayed after one of this many bytes.
fn pause_after(bytes: usize) -> Duration {
    let share = bytes as f64 / MAX_BLOB_BYTES as f64;
    MAX_WRITE_INTERVAL.mul_f64(share).max(POLL_INTERVAL)
}

#[cfg(test)]
mod tests;
