//! The stored addresses of peers that we connected to.

use std::collections::HashSet;

use bitcoin::secp256k1::PublicKey;

/// An error of the store, with its own text.
pub type AddressBookError = Box<dyn std::error::Error + Send + Sync>;

/// Storage for peer addresses, one or more per peer, as `host:port`.
///
/// Only addresses to which we connected successfully are stored, so unknown peers cannot fill the
/// store. `remember` and `forget` enqueue a write and return; losing the last writes in a crash is
/// harmless. `remember` puts the address before the peer's earlier ones.
pub trait AddressBook: Send + Sync {
    /// Returns all addresses, the latest of each peer first.
    fn addresses(&self) -> Result<Vec<(PublicKey, String)>, AddressBookError>;
    fn remember(&self, peer: PublicKey, address: String);
    fn forget(&self, peer: &PublicKey);
}

/// Returns the peers with which we have channels now.
pub type ChannelPeers = dyn Fn() -> HashSet<PublicKey> + Send + Sync;
