//! Lightning channels: settings, opening, accepting, listing, closing, and forwarded payments.
//!
//! [`EventHandler`] is the entry point for the node's event loop: one function per LDK event.
//! [`Channels`] is what API clients can do.

pub mod acceptors;
pub mod anchor_reserve;
pub mod api;
pub mod balance;
pub mod channel_events;
mod channel_id_json;
pub mod close;
pub mod closed;
pub mod closing_transaction;
pub mod config;
mod depth;
pub mod events;
pub mod forwards;
pub mod funding_spends;
pub mod htlc_feed;
pub mod inbound;
pub mod inbound_request;
mod ldk_events;
pub mod list;
pub mod open;
pub mod pending;
mod pending_decisions;
pub mod policy;
mod sweeping;
#[cfg(test)]
pub(crate) mod test_node;
pub mod total;
pub mod unfunded;
pub mod user_channel_id;

pub use api::Channels;
pub use events::EventHandler;
