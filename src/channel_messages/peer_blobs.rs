//! The interface through which the gateway stores peers' blobs (BOLT 1 `peer_storage`).

use bitcoin::secp256k1::PublicKey;

/// Stores the newest blob of each peer (BOLT 1 `peer_storage`).
pub trait PeerBlobs: Send + Sync {
    /// Stores a blob of a connected peer. The implementation may ignore it.
    fn put(&self, peer: PublicKey, blob: Vec<u8>);
    /// Returns whether a blob of this peer is stored.
    fn has(&self, peer: &PublicKey) -> bool;
    /// Returns the newest stored blob of this peer.
    fn newest(&self, peer: &PublicKey) -> Option<Vec<u8>>;
    /// Handles the disconnection of the peer.
    fn disconnected(&self, peer: &PublicKey);
}
