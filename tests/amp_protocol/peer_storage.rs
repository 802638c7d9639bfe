//! Blobs that peers store with us are returned when they reconnect (BOLT 1 `peer_storage`).

use std::sync::Arc;

use ampd::node::ManagerPeers;
use ampd::peers::peer_storage::PeerStorage as PeerBlobs;
use ampd::storage::Store;
use lightning::ln::msgs::{
    BaseMessageHandler, ChannelMessageHandler, Init, MessageSendEvent, PeerStorage,
};
use tempfile::TempDir;

use crate::network::Network;

const US: usize = 0;
const PEER: usize = 1;
/// The maximum blob size in bytes that fits into a message.
const MAX_BLOB_LEN: usize = 65_531;

/// A network whose first node provides peer storage.
struct Scene {
    network: Network,
    _directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let network = Network::with_handlers(2, |i, node, gateway| match i {
            US => {
                let peers = Arc::new(ManagerPeers(node.node));
                let blobs = PeerBlobs::open(store.clone(), peers).unwrap();
                gateway.storing_by(Arc::new(blobs))
            }
            _ => gateway,
        });
        Self {
            network,
            _directory: directory,
        }
    }

    fn with_channel() -> Self {
        let scene = Self::new();
        scene.network.channel(US, PEER);
        scene
    }

    fn store(&self, blob: &[u8]) {
        let peer = self.network.id(PEER);
        let data = blob.to_vec();
        self.network.handlers[US].handle_peer_storage(peer, PeerStorage { data });
    }

    /// Reconnects the peer and returns the first messages sent to it.
    fn sent_on_connecting(&self) -> Vec<MessageSendEvent> {
        let init = Init {
            features: self.network.nodes[PEER].node.init_features(),
            networks: None,
            remote_network_address: None,
        };
        let gateway = &self.network.handlers[US];
        let peer = self.network.id(PEER);
        gateway.peer_disconnected(peer);
        gateway.get_and_clear_pending_msg_events();
        gateway.peer_connected(peer, &init, true).unwrap();
        gateway.get_and_clear_pending_msg_events()
    }
}

/// Returns length and first byte of each returned blob, in order.
fn returned(events: &[MessageSendEvent]) -> Vec<(usize, u8)> {
    let blobs = events.iter().filter_map(|event| match event {
        MessageSendEvent::SendPeerStorageRetrieval { msg, .. } => {
            Some((msg.data.len(), msg.data[0]))
        }
        _ => None,
    });
    blobs.collect()
}

#[test]
fn largest_blob_is_returned_once_before_channel_reestablish() {
    let scene = Scene::with_channel();
    scene.store(&[1; MAX_BLOB_LEN]);
    scene.store(&[2; MAX_BLOB_LEN]);
    let sent = scene.sent_on_connecting();
    assert_eq!(returned(&sent), [(MAX_BLOB_LEN, 2)]);
    assert!(matches!(
        sent[..],
        [
            MessageSendEvent::SendPeerStorageRetrieval { .. },
            MessageSendEvent::SendChannelReestablish { .. },
            ..
        ]
    ));
    // On every connection.
    assert_eq!(returned(&scene.sent_on_connecting()), [(MAX_BLOB_LEN, 2)]);
}

#[test]
fn blob_of_a_peer_without_channel_is_silently_ignored() {
    let scene = Scene::new();
    scene.store(b"blob");
    let gateway = &scene.network.handlers[US];
    assert!(gateway.get_and_clear_pending_msg_events().is_empty());
    assert!(returned(&scene.sent_on_connecting()).is_empty());
}

/// Earlier versions of ampd left peer storage to LDK.
#[test]
fn blob_stored_by_ldk_is_returned_until_a_newer_one_arrives() {
    let scene = Scene::with_channel();
    let data = vec![9; 100];
    let ldk = scene.network.nodes[US].node;
    ldk.handle_peer_storage(scene.network.id(PEER), PeerStorage { data });
    assert_eq!(returned(&scene.sent_on_connecting()), [(100, 9)]);
    scene.store(&[1; 200]);
    assert_eq!(returned(&scene.sent_on_connecting()), [(200, 1)]);
}
