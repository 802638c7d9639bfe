//! The address book of peers that we connected to ourselves.

use std::collections::HashSet;

use bitcoin::secp256k1::PublicKey;

/// An error of whoever keeps the book, with its own text.
pub type BookError = Box<dyn std::error::Error + Send + Sync>;

/// Where the addresses of peers are kept, one or more per peer, as `host:port`.
///
/// Only addresses to which a connection of ours succeeded are remembered, so a stranger cannot fill
/// the book. `remember` and `forget` enqueue and return; losing the last of them in a crash is no
/// harm. `remember` puts the address before those that the peer had.
pub trait PeerBook: Send + Sync {
    /// All addresses, the latest of each peer first.
    fn addresses(&self) -> Result<Vec<(PublicKey, String)>, BookError>;
    fn remember(&self, peer: PublicKey, address: String);
    fn forget(&self, peer: &PublicKey);
}

/// The peers with whom we have channels now.
pub type ChannelPeers = dyn Fn() -> HashSet<PublicKey> + Send + Sync;
