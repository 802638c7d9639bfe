//! What peers store with us (BOLT 1, `peer_storage`), and get back when they connect.
//!
//! LDK takes 1,024 bytes at the most and gives back an outdated blob once the peer's is longer, so this
//! takes its place. A blob is written for peers with a confirmed channel only: channels whose funding
//! never confirms cost a stranger nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::channel_messages::PeerBlobs;
use crate::storage::peer_storage::{DeletePeerBlob, PutNoChannelSince, PutPeerBlob};
use crate::storage::{StorageError, Store, Ticket};

/// The longest blob, in bytes (BOLT 1).
const LONGEST: usize = 65_531;
/// As many peers may store something: 64 MiB on disk.
const MOST_PEERS: usize = 1_024;
/// As many peers whose first channel is not confirmed yet have their blob in memory: 4 MiB.
const MOST_UNCONFIRMED: usize = 64;
/// How long a blob is kept after the peer's last channel was closed (BOLT 1), in blocks.
const KEPT_BLOCKS: u32 = 2_016;
/// How often is looked for blobs to write and for a new block.
const LOOK: Duration = Duration::from_secs(1);
/// A blob of [`LONGEST`] bytes is written once in this time. BOLT 1 allows to delay any to once a
/// minute; shorter ones are delayed less, so that a crash loses less.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What decides whether a peer may store something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    NoChannel,
    /// Its channels are funded, but none of them is confirmed.
    Unconfirmed,
    Confirmed,
}

/// The channels, as far as they matter here.
pub trait PeerChannels: Send + Sync {
    fn standing(&self, peer: &PublicKey) -> Standing;
    /// The height of the best block.
    fn height(&self) -> u32;
}

/// The blobs of all peers. What was written is in the database alone.
pub struct PeerStorage {
    store: Arc<Store>,
    channels: Arc<dyn PeerChannels>,
    blobs: Mutex<Blobs>,
}

#[derive(Default)]
struct Blobs {
    stored: HashMap<PublicKey, Stored>,
    /// Of connected peers whose first channel is not confirmed yet.
    unconfirmed: HashMap<PublicKey, Arc<[u8]>>,
    /// The height of the last look at everybody's channels.
    height: Option<u32>,
}

/// A peer with a row in the database, or about to have one.
#[derive(Default)]
struct Stored {
    /// The newest blob, until it is on disk.
    newest: Option<Arc<[u8]>>,
    /// When the next one may be written.
    rests_until: Option<Instant>,
    /// The block height at which the peer was first seen without a channel.
    no_channel_since: Option<u32>,
}

/// A blob that the writer has.
struct Submitted {
    peer: PublicKey,
    blob: Arc<[u8]>,
    ticket: Ticket,
}

impl PeerStorage {
    /// # Errors
    /// If the database cannot be read.
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

    /// Writes what waits and deletes what is no longer owed, until `stop`. Then all that waits is
    /// handed to the writer.
    pub async fn run(&self, stop: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = async {
                    look.tick().await;
                    self.follow_channels();
                    let submitted = self.submit(|stored| stored.is_due(Instant::now()));
                    self.finish(submitted).await;
                } => {}
            }
        }
        self.submit(|_| true);
    }

    /// Hands the chosen blobs that wait to the writer.
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
            let ticket = self.store.submit_patiently(put);
            submitted.push(Submitted { peer, blob, ticket });
        }
        submitted
    }

    /// Forgets the blobs that are on disk, once they are.
    async fn finish(&self, submitted: Vec<Submitted>) {
        for Submitted { peer, blob, ticket } in submitted {
            self.store.durable(ticket).await;
            if let Some(stored) = self.blobs().stored.get_mut(&peer) {
                stored.newest.take_if(|newest| Arc::ptr_eq(newest, &blob));
            }
        }
    }

    /// Looks once a block who has channels.
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
        if since.is_some_and(|since| height >= since.saturating_add(KEPT_BLOCKS)) {
            blobs.stored.remove(&peer);
            self.store.submit_patiently(DeletePeerBlob(peer));
        } else if stored.no_channel_since != since {
            stored.no_channel_since = since;
            self.store.submit_patiently(PutNoChannelSince {
                node_id: peer,
                height: since,
            });
        }
    }

    /// Takes the blob to be written, if there is room.
    fn accept(&self, blobs: &mut Blobs, peer: PublicKey, blob: Arc<[u8]>) {
        let is_new = !blobs.stored.contains_key(&peer);
        if is_new && blobs.stored.len() >= MOST_PEERS && !self.make_room(blobs) {
            tracing::warn!(%peer, "peer storage refused: {MOST_PEERS} peers already store a blob");
            return;
        }
        blobs.stored.entry(peer).or_default().newest = Some(blob);
    }

    /// Deletes the blob of the peer that has been without a channel for longest. False if all have one.
    fn make_room(&self, blobs: &mut Blobs) -> bool {
        let without = blobs.stored.iter().filter_map(|(peer, stored)| {
            let since = stored.no_channel_since?;
            Some((since, *peer))
        });
        let Some((_, peer)) = without.min() else {
            return false;
        };
        blobs.stored.remove(&peer);
        self.store.submit_patiently(DeletePeerBlob(peer));
        true
    }

    fn blobs(&self) -> MutexGuard<'_, Blobs> {
        // Poisoning is ignored: no holder of this lock can panic in the middle of a change.
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeerBlobs for PeerStorage {
    fn put(&self, peer: PublicKey, blob: Vec<u8>) {
        // A longer one does not fit into a message.
        if blob.len() > LONGEST {
            return;
        }
        let standing = self.channels.standing(&peer);
        let mut blobs = self.blobs();
        match standing {
            // Core Lightning also sends to peers with which it has no channel yet.
            Standing::NoChannel => {
                tracing::debug!(%peer, "peer storage refused: no channel with this peer")
            }
            Standing::Unconfirmed if !blobs.stored.contains_key(&peer) => {
                if blobs.unconfirmed.len() < MOST_UNCONFIRMED
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

/// How long a peer's next blob waits after one of this many bytes.
fn pause_after(bytes: usize) -> Duration {
    let share = bytes as f64 / LONGEST as f64;
    LONGEST_PAUSE.mul_f64(share).max(LOOK)
}

#[cfg(test)]
mod tests;
