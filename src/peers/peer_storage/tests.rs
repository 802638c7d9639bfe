//! Blobs that are stored for peers: how many, how long, and across restarts.

use std::sync::atomic::{AtomicU32, Ordering};

use bitcoin::secp256k1::{Secp256k1, SecretKey};
use tempfile::TempDir;

use super::*;

/// Channel states set by the test.
#[derive(Default)]
struct Channels {
    standings: Mutex<HashMap<PublicKey, Standing>>,
    height: AtomicU32,
}

impl PeerChannels for Channels {
    fn standing(&self, peer: &PublicKey) -> Standing {
        let standings = self.standings.lock().unwrap();
        standings.get(peer).copied().unwrap_or(Standing::NoChannel)
    }

    fn height(&self) -> u32 {
        self.height.load(Ordering::Relaxed)
    }
}

struct Scene {
    channels: Arc<Channels>,
    store: Arc<Store>,
    storage: PeerStorage,
    _dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let channels = Arc::new(Channels::default());
        let storage = PeerStorage::open(store.clone(), channels.clone()).unwrap();
        Self {
            channels,
            store,
            storage,
            _dir: dir,
        }
    }

    fn set(&self, peer: PublicKey, standing: Standing) {
        self.channels
            .standings
            .lock()
            .unwrap()
            .insert(peer, standing);
    }

    /// Connects a block at this height and processes what is due.
    fn block(&self, height: u32) {
        self.channels.height.store(height, Ordering::Relaxed);
        self.storage.follow_channels();
        self.write(Instant::now());
    }

    /// Writes what is due at this time.
    fn write(&self, now: Instant) {
        self.storage.submit(|stored| stored.is_due(now));
        self.store.flush();
    }

    fn on_disk(&self, peer: PublicKey) -> Option<Vec<u8>> {
        self.store.peer_blob(&peer).unwrap()
    }
}

fn peer(n: u16) -> PublicKey {
    let mut secret = [1; 32];
    secret[..2].copy_from_slice(&n.to_be_bytes());
    let secret = SecretKey::from_slice(&secret).unwrap();
    PublicKey::from_secret_key(&Secp256k1::signing_only(), &secret)
}

#[test]
fn newest_blob_replaces_pending_blobs_and_is_returned_to_the_peer() {
    let scene = Scene::new();
    scene.set(peer(1), Standing::Confirmed);
    let (first, last) = (vec![1; MAX_BLOB_BYTES], vec![3; MAX_BLOB_BYTES]);
    scene.storage.put(peer(1), first.clone());
    scene.write(Instant::now());
    assert_eq!(scene.on_disk(peer(1)), Some(first.clone()));

    scene.storage.put(peer(1), vec![2; MAX_BLOB_BYTES]);
    scene.storage.put(peer(1), last.clone());
    let newest = scene.storage.newest(&peer(1));
    assert_eq!(newest, Some(last.clone()), "before it is on disk");
    scene.write(Instant::now() + MAX_WRITE_INTERVAL / 2);
    assert_eq!(scene.on_disk(peer(1)), Some(first), "too soon");
    scene.write(Instant::now() + MAX_WRITE_INTERVAL);
    assert_eq!(scene.on_disk(peer(1)), Some(last));
}

#[tokio::test]
async fn pending_blobs_are_written_at_shutdown_and_found_after_a_restart() {
    let scene = Scene::new();
    scene.set(peer(1), Standing::Confirmed);
    scene.storage.put(peer(1), b"blob".to_vec());
    let stopped = CancellationToken::new();
    stopped.cancel();
    scene.storage.run(stopped).await;
    scene.store.flush();
    let again = PeerStorage::open(scene.store.clone(), scene.channels.clone()).unwrap();
    assert!(again.has(&peer(1)));
    assert_eq!(again.newest(&peer(1)).unwrap(), b"blob");
}

#[tokio::test]
async fn written_blobs_are_not_kept_in_memory() {
    let scene = Scene::new();
    scene.set(peer(1), Standing::Confirmed);
    scene.storage.put(peer(1), b"blob".to_vec());
    let submitted = scene.storage.submit(|_| true);
    scene.storage.finish(submitted).await;
    assert!(scene.storage.blobs().stored[&peer(1)].newest.is_none());
    assert_eq!(scene.storage.newest(&peer(1)).unwrap(), b"blob");
}

#[test]
fn peers_without_channels_cannot_store_blobs() {
    let scene = Scene::new();
    scene.storage.put(peer(1), b"blob".to_vec());
    scene.block(100);
    assert!(!scene.storage.has(&peer(1)));
    assert_eq!(scene.on_disk(peer(1)), None);
}

#[test]
fn blobs_are_written_once_a_channel_is_confirmed() {
    let scene = Scene::new();
    for n in [1, 2] {
        scene.set(peer(n), Standing::Unconfirmed);
        scene.storage.put(peer(n), b"blob".to_vec());
    }
    scene.block(100);
    assert_eq!(scene.on_disk(peer(1)), None);
    scene.storage.disconnected(&peer(2));
    for n in [1, 2] {
        scene.set(peer(n), Standing::Confirmed);
    }
    scene.block(101);
    assert_eq!(scene.on_disk(peer(1)).unwrap(), b"blob");
    assert_eq!(scene.on_disk(peer(2)), None, "the peer sends it again");
}

#[test]
fn memory_for_peers_with_unconfirmed_channels_is_limited() {
    let scene = Scene::new();
    for n in 0..200 {
        scene.set(peer(n), Standing::Unconfirmed);
        scene.storage.put(peer(n), vec![0; MAX_BLOB_BYTES]);
    }
    assert_eq!(
        scene.storage.blobs().unconfirmed.len(),
        MAX_UNCONFIRMED_PEERS
    );
}

#[test]
fn blobs_are_kept_for_2016_blocks_after_the_last_channel() {
    let scene = Scene::new();
    scene.set(peer(1), Standing::Confirmed);
    scene.storage.put(peer(1), b"blob".to_vec());
    scene.block(100);
    scene.set(peer(1), Standing::NoChannel);
    scene.block(101);
    scene.block(2_116);
    assert_eq!(scene.on_disk(peer(1)).unwrap(), b"blob");
    scene.block(2_117);
    assert_eq!(scene.on_disk(peer(1)), None);
    assert!(!scene.storage.has(&peer(1)));
}

#[test]
fn retention_survives_restarts_and_restarts_after_another_channel() {
    let scene = Scene::new();
    scene.set(peer(1), Standing::Confirmed);
    scene.storage.put(peer(1), b"blob".to_vec());
    scene.block(100);
    scene.set(peer(1), Standing::NoChannel);
    scene.block(101);
    let again = PeerStorage::open(scene.store.clone(), scene.channels.clone()).unwrap();
    let scene = Scene {
        storage: again,
        ..scene
    };
    assert_eq!(
        scene.store.peers_with_blobs().unwrap(),
        [(peer(1), Some(101))]
    );
    scene.set(peer(1), Standing::Unconfirmed);
    scene.block(2_117);
    assert_eq!(scene.store.peers_with_blobs().unwrap(), [(peer(1), None)]);
    scene.set(peer(1), Standing::NoChannel);
    scene.block(2_118);
    scene.block(4_133);
    assert!(scene.on_disk(peer(1)).is_some());
    scene.block(4_134);
    assert_eq!(scene.on_disk(peer(1)), None);
}

#[test]
fn former_peers_are_evicted_when_all_rows_are_used() {
    let scene = Scene::new();
    let most = MAX_PEERS as u16;
    for n in 0..=most {
        scene.set(peer(n), Standing::Confirmed);
        scene.storage.put(peer(n), vec![1]);
    }
    assert!(
        !scene.storage.has(&peer(most)),
        "stored although all rows are used by peers with channels"
    );
    scene.storage.put(peer(7), vec![2]);
    assert_eq!(
        scene.storage.newest(&peer(7)).unwrap(),
        [2],
        "a peer replaces its own row"
    );

    for (n, height) in [(5, 100), (6, 101)] {
        scene.set(peer(n), Standing::NoChannel);
        scene.block(height);
    }
    scene.storage.put(peer(most), vec![1]);
    assert!(scene.storage.has(&peer(most)));
    assert!(
        !scene.storage.has(&peer(5)),
        "the peer longest without a channel was not evicted"
    );
    assert!(scene.storage.has(&peer(6)));
    assert_eq!(scene.storage.blobs().stored.len(), MAX_PEERS);
}

#[test]
fn short_blobs_are_written_more_often() {
    assert_eq!(pause_after(0), POLL_INTERVAL);
    assert_eq!(pause_after(MAX_BLOB_BYTES), MAX_WRITE_INTERVAL);
    assert!(pause_after(2_000) < Duration::from_secs(2));
}
