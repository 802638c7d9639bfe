//! Peers: connections in both directions, reconnection, peer lists, custom messages, and our node
//! announcement.

pub mod address;
pub mod announce;
pub mod book;
pub mod connect;
pub mod connection;
pub mod custom;
pub mod drained;
mod inbound;
pub mod list;
pub mod listen;
pub mod onion_messages;
pub mod peer_storage;
pub mod reconnect;
mod socket;

pub use book::PeerBook;
pub use connect::Connector;
pub use connection::PeerManager;
pub use reconnect::Reconnector;
