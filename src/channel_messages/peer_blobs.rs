//! What the gateway needs of whoever keeps what peers store with us.

use bitcoin::secp256k1::PublicKey;

/// Keeps the newest blob of each peer (BOLT 1, `peer_storage`).
pub trait PeerBlobs: Send + Sync {
    /// Takes a blob of a connected peer; it may be refused.
    fn put(&self, peer: PublicKey, blob: Vec<u8>);
    /// Whether there is a blob of this peer.
    fn has(&self, peer: &PublicKey) -> bool;
    /// The last blob that was taken from this peer.
    fn newest(&self, peer: &PublicKey) -> Option<Vec<u8>>;
    /// The peer has gone.
    fn disconnected(&self, peer: &PublicKey);
}
