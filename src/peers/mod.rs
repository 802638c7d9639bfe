//! Peers: connections in both directions, reconnection, peer lists, custom messages, and our node
//! announcement.

pub mod address;
pub mod address_book;
pub mod announce;
pub mod api;
pub mod connect;
pub mod connection;
pub mod custom_messages;
pub mod drained;
mod inbound_limit;
pub mod list;
pub mod listen;
pub mod onion_messages;
pub mod peer_storage;
pub mod reconnect;
mod tcp;

pub use address_book::AddressBook;
pub use api::Peers;
pub use connect::Connector;
pub use connection::PeerManager;
pub use reconnect::Reconnector;
