//! lnd's gRPC interface: names, numbers and behaviour are those of lnd 0.21.
//!
//! It translates and decides nothing: each call is read (`input`), handed to a room, and the
//! room's answer (`payment`, `invoice`, ...) or error (`errors`) is put into lnd's words.

mod asked_route;
mod auth;
mod errors;
mod events;
mod features;
mod input;
mod invoice;
mod invoices;
mod lightning;
mod payment;
pub mod proto;
#[cfg(test)]
mod recorded;
mod rooms;
mod route_hints;
mod router;
mod server;
mod state;
mod static_invoices;
mod streams;
mod token;
pub(crate) mod versioner;

pub use rooms::Rooms;
pub use server::{ServeError, serve};
pub use token::{Token, TokenError};

/// The gRPC metadata key under which a client sends the token.
pub const TOKEN_HEADER: &str = "ampd-token";

/// Name of the file in the network's data directory that holds the token: hex text, mode 0600.
pub const TOKEN_FILE: &str = "rpc.token";

/// lnd's messages have signed numbers for what is never negative. Nothing real is cut off: all
/// bitcoins in msat are a quarter of the largest number.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
