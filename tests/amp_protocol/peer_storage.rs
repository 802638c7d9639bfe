//! What a peer stores with us comes back when it connects (BOLT 1, `peer_storage`).

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
/// Bytes; a longer blob fits into no message.
const LONGEST: usize = 65_531;

/// A network with a channel, whose first node keeps what its peers store.
struct Scene {
    network: Network,
    _directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let network = Network::with_gateways(2, |i, node, gateway| match i {
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
        self.network.gateways[US].handle_peer_storage(peer, PeerStorage { data });
    }

    /// What the peer is sent first when it connects again.
    fn sent_on_connecting(&self) -> Vec<MessageSendEvent> {
        let init = Init {
            features: self.network.nodes[PEER].node.init_features(),
            networks: None,
            remote_network_address: None,
        };
        let gateway = &self.network.gateways[US];
        let peer = self.network.id(PEER);
        gateway.peer_disconnected(peer);
        gateway.get_and_clear_pending_msg_events();
        gateway.peer_connected(peer, &init, true).unwrap();
        gateway.get_and_clear_pending_msg_events()
    }
}

/// Length and first byte of the blobs among them, in their order.
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
fn the_longest_blob_is_returned_once_and_before_channel_reestablish() {
    let scene = Scene::with_channel();
    scene.store(&[1; LONGEST]);
    scene.store(&[2; LONGEST]);
    let sent = scene.sent_on_connecting();
    assert_eq!(returned(&sent), [(LONGEST, 2)]);
    assert!(matches!(
        sent[..],
        [
            MessageSendEvent::SendPeerStorageRetrieval { .. },
            MessageSendEvent::SendChannelReestablish { .. },
            ..
        ]
    ));
    // Each time.
    assert_eq!(returned(&scene.sent_on_connecting()), [(LONGEST, 2)]);
}

#[test]
fn without_a_channel_nothing_is_stored_and_nobody_is_warned() {
    let scene = Scene::new();
    scene.store(b"blob");
    let gateway = &scene.network.gateways[US];
    assert!(gateway.get_and_clear_pending_msg_events().is_empty());
    assert!(returned(&scene.sent_on_connecting()).is_empty());
}

/// An ampd before this one left it to LDK.
#[test]
fn what_ldk_has_stored_is_returned_until_a_newer_blob_comes() {
    let scene = Scene::with_channel();
    let data = vec![9; 100];
    let ldk = scene.network.nodes[US].node;
    ldk.handle_peer_storage(scene.network.id(PEER), PeerStorage { data });
    assert_eq!(returned(&scene.sent_on_connecting()), [(100, 9)]);
    scene.store(&[1; 200]);
    assert_eq!(returned(&scene.sent_on_connecting()), [(200, 1)]);
}
