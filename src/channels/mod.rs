//! Lightning channels: settings, opening, accepting, listing, closing, and forwarded payments.
//!
//! [`Channels`] is the entry point for the node's event loop: one function per LDK event.

pub mod accept;
pub mod anchor_reserve;
pub mod balance;
mod channel_id_json;
pub mod close;
pub mod closed;
pub mod closing_transaction;
pub mod config;
pub mod deciders;
mod depth;
pub mod events;
pub mod feed;
pub mod forwards;
pub mod htlc_feed;
pub mod id;
pub mod inbound_request;
pub mod list;
pub mod open;
pub mod pending;
pub mod policy;
mod rows;
pub mod spends;
pub mod strangers;
#[cfg(test)]
pub(crate) mod test_node;
mod undecided;

pub use events::Channels;
